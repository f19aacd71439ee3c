"""The HTML page: tables and plots in one self-contained file, which loads nothing else."""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from sv.io import DataDir, atomic_write
from sv.metrics.comparison import ScoredSystem, ScoreSet
from sv.metrics.measures import Column, Entry, columns_in
from sv.metrics.results import table_of
from sv.report import plots
from sv.report.gather import ScoreFacts, System, corpus_facts, read_facts, read_map, read_system

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #6b6b6b; }
@media (prefers-color-scheme: dark) { :root { --dim: #a0a0a0; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
summary { cursor: pointer; font-weight: 600; margin: 1rem 0 .3rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin-bottom: .8rem; /* a shadow at the right edge while there is more to scroll to */
  background: linear-gradient(to left, Canvas 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to left, #8887, transparent) right / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .25rem .55rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
td { white-space: nowrap; } th { font-weight: 600; vertical-align: bottom; } td.word, th.word { text-align: left; }
th.word { white-space: nowrap; } table .dim { font-size: .92em; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; max-width: 36rem; }
figcaption, .dim { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
button { font: inherit; width: 1.5rem; padding: 0; margin-left: .3rem; }
pre { overflow-x: auto; font-size: .8rem; border: 1px solid var(--line); padding: .6rem; border-radius: 4px; }
@media (max-width: 40rem) { th, td { padding: .2rem .35rem; } table { font-size: .8rem; }
  td.word { white-space: normal; } }
"""

_PLAYER = """
const player = new Audio();
let playing = null;
const show = button => { if (playing) playing.textContent = "\u25b6"; playing = button;
  if (button) button.textContent = "\u25a0"; };
player.onended = () => show(null);
document.addEventListener("click", event => {
  const button = event.target.closest("button[data-sound]");
  if (!button) return;
  player.pause();
  if (button === playing) return show(null);
  player.src = sounds[button.dataset.sound];
  player.play();
  show(button);
});
"""

_CURVES = {
    "loss": "loss",
    "heldout_eer": "held-out EER (%)",
    "lr": "learning rate",
    "margin": "margin",
    "data_wait": "share of time waiting for data",
}
_AUDIO_BYTES = 400_000  # a larger file is not embedded in the page


def write_report(
    scored: Sequence[ScoredSystem], out: Path, test_data: Path | None = None, train_data: Path | None = None
) -> None:
    """Write the page, and its plots as PNG into the folder NAME_plots beside it.

    Args:
        scored: one or more systems.
        out: path of the page, as in report.html.
        test_data: data dir of the trials, for corpus statistics, map of embeddings and audio of errors.
        train_data: data dir of the training, for corpus statistics.

    Raises:
        UserError: matplotlib is not installed, or a file of a system or data dir is damaged.
    """
    data = DataDir(test_data) if test_data else None
    systems = [read_system(system, test_data.name if test_data else "") for system in scored]
    folder = out.with_name(f"{out.stem}_plots")
    title = ", ".join(system.name for system in systems)
    facts = [read_facts(one) for system in systems for one in system.scores]
    body = [f"<h1>{escape(title)}</h1>", "<h2>Results</h2>", _results(systems), _curves(facts, folder)]
    body += [_training(systems, folder)]
    if data is not None:
        body += [_map(systems, data, folder)]
    body += [_corpora({"training": DataDir(train_data) if train_data else None, "test": data})]
    sounds = Sounds(data)
    body += [_breakdown_and_errors(facts, sounds), _configs(systems), sounds.script()]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    page = f"<!doctype html><html lang=en><head>{head}<title>{escape(title)}</title><style>{_STYLE}</style></head>"
    with atomic_write(out) as f:
        f.write(f"{page}<body>{''.join(body)}</body></html>\n")


class Html(str):
    """Text that is HTML already and is not escaped."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """Return an HTML table; the first `words` columns are text. Cells are escaped, except `Html`."""

    def line(cells: Sequence[str], tag: str) -> str:
        texts = [cell if isinstance(cell, Html) else escape(cell) for cell in cells]
        marks = [' class="word"' if column < words else "" for column in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{m}>{t}</{tag}>" for m, t in zip(marks, texts, strict=True)) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def _figure(fig: object, folder: Path, name: str, caption: str) -> str:
    return f"<figure>{plots.save(fig, folder / f'{name}.png')}<figcaption>{escape(caption)}</figcaption></figure>"


def _results(systems: Sequence[System]) -> str:
    head, rows = table_of({system.name: system.results for system in systems})
    start = 0 if len(systems) > 1 else 1  # the page's title names a single system
    head = [name.replace("p_target ", "p_target\u00a0") for name in head[start:]]
    cells = [[*row[start:3], *map(_in_two_lines, row[3:])] for row in rows]
    note = '<p class="dim">In brackets: 95 % confidence intervals over speakers.</p>'
    return table(head, cells, 3 - start) + note * any("[" in cell for row in rows for cell in row[3:])


def _in_two_lines(measured: str) -> str:
    """Put the interval below the number."""
    number, bracket, interval = measured.partition(" [")
    return Html(f'{escape(number)}<br><span class="dim">[{escape(interval)}</span>') if bracket else number


def _curves(facts: Sequence[ScoreFacts], folder: Path) -> str:
    curves, histograms = [], []
    for trials in dict.fromkeys(one.of.trials for one in facts):
        scored = [one for one in facts if one.of.trials == trials]
        one_system = len({one.of.system for one in scored}) == 1
        drawn, again = _by_curve(scored)
        name = trials.removesuffix(".kaldi")
        names, left_out = ([_name(one.of, one_system) for one in some] for some in (drawn, again))
        caption = _det_caption(name, list(plots.det_marks(drawn).items()), left_out)
        curves.append(_figure(plots.figure(plots.det(drawn, names), 5.0, 4.6), folder, f"det_{name}", caption))
        for one in scored:
            fig = plots.figure(plots.histogram(one))
            histograms.append(_figure(fig, folder, f"scores_{one.of.system}_{name}_{one.of.backend}", one.of.title))
    return _section("Curves", curves) + _section("Scores", histograms)


def _name(one: ScoreSet, one_system: bool) -> str:
    return one.backend if one_system else f"{one.system}, {one.backend}"


def _det_caption(trials: str, marks: Sequence[tuple[str, str]], left_out: Sequence[str]) -> str:
    points = [f"{point} ({marker})" for point, marker in marks]
    costs = f" and minDCF at p_target {', '.join(points[1:])}" * (len(points) > 1)
    same = f"; not drawn, as the curve is the same: {'; '.join(left_out)}" * bool(left_out)
    return f"DET curves on {trials}, with {points[0]}{costs}; at the edge: a rate of 0 or 100 %{same}"


def _by_curve(facts: Sequence[ScoreFacts]) -> tuple[list[ScoreFacts], list[ScoreFacts]]:
    """Split score files into those with a DET curve of their own, and those with the curve of an earlier one.

    Calibration does not change a DET curve.
    """
    own: list[ScoreFacts] = []
    again: list[ScoreFacts] = []
    for one in facts:
        (again if any(_same_curve(one.of, other.of) for other in own) else own).append(one)
    return own, again


def _same_curve(one: ScoreSet, other: ScoreSet) -> bool:
    """Return whether two score files rank the trials alike, except for scores that calibration rounds to ties."""
    gaps = {name: abs(one.entry[name] - other.entry[name]) for name in ("eer_rocch", "min_cllr")}
    return one.system == other.system and gaps["eer_rocch"] < 0.01 and gaps["min_cllr"] < 0.001


def _section(title: str, figures: Sequence[str]) -> str:
    return f'<h2>{title}</h2><div class="grid">{"".join(figures)}</div>' if figures else ""


def _training(systems: Sequence[System], folder: Path) -> str:
    drawn = {key: plots.training(systems, key, label) for key, label in _CURVES.items()}
    parts = [
        _figure(plots.figure(draw, 4.8, 2.8), folder, f"training_{key}", _CURVES[key])
        for key, draw in drawn.items()
        if draw is not None
    ]
    return _section("Training", parts)


def _map(systems: Sequence[System], data: DataDir, folder: Path) -> str:
    parts = []
    for system in systems:
        found = read_map(system, data)
        if found is not None:
            fig = plots.figure(plots.embedding_map(*found), 5.0, 5.0)
            parts.append(_figure(fig, folder, f"map_{system.name}", f"Embeddings of {data.path.name}: {system.name}"))
    return _section("Embeddings by speaker", parts)


def _corpora(sets: Mapping[str, DataDir | None]) -> str:
    """Return a table of corpus statistics, one column a data dir."""
    there = {f"{use}: {data.path.name}": dict(corpus_facts(data)) for use, data in sets.items() if data is not None}
    names = dict.fromkeys(name for facts in there.values() for name in facts)
    rows = [[name, *(facts.get(name, "") for facts in there.values())] for name in names]
    return "<h2>Data</h2>" + table(["", *there], rows, 1) if there else ""


def _breakdown_and_errors(facts: Sequence[ScoreFacts], sounds: "Sounds") -> str:
    """Return a foldable section for each trial list and back-end; the first is open."""
    parts: list[str] = []
    for one in facts:
        found = one.of.entry.get("breakdown", [])
        columns = columns_in(found)
        head = ["by", "part", *(column.title for column in columns), "targets", "non-targets"]
        breakdown = table(head, [_part_row(part, columns) for part in found], 2) if found else ""
        errors = [
            [kind, sounds.button(enroll), sounds.button(test), f"{score:.3f}"]
            for kind, enroll, test, score in one.hardest
        ]
        inner = breakdown + table(["hardest", "enroll", "test", "score"], errors, 3)
        parts.append(f"<details{' open' * (not parts)}><summary>{escape(one.of.title)}</summary>{inner}</details>")
    return "<h2>Breakdown and hardest errors</h2>" + "".join(parts) if parts else ""


def _part_row(part: Entry, columns: Sequence[Column]) -> list[str]:
    name = part["name"].replace(" ", "\u00a0").replace("/\u00a0", "/ ")  # a narrow page breaks only between the sides
    cells = [column.text(column.read(part)) for column in columns]
    return [part["by"], name, *cells, str(part["num_target"]), str(part["num_nontarget"])]


class Sounds:
    """Audio files embedded in a page, each once, and the buttons that play them.

    Args:
        data: data dir with a wav.scp; None for no audio.
    """

    def __init__(self, data: DataDir | None) -> None:
        self._specs = data.wav_scp if data and (data.path / "wav.scp").is_file() else {}
        self._found: dict[str, str] = {}  # utterance -> data URL; empty if it cannot be played

    def button(self, utt: str) -> str:
        """Return the id of an utterance, with a play button if its audio is a small local file."""
        if utt not in self._found:
            self._found[utt] = self._read(self._specs.get(utt, ""))
        if not self._found[utt]:
            return utt
        return Html(f'{escape(utt)}<button data-sound="{escape(utt)}" aria-label="play">&#9654;</button>')

    @staticmethod
    def _read(spec: str) -> str:
        path = Path(spec)
        kinds = {".wav": "wav", ".flac": "flac", ".mp3": "mpeg", ".ogg": "ogg"}
        if not spec or spec.endswith("|") or path.suffix not in kinds or not path.is_file():
            return ""
        if path.stat().st_size > _AUDIO_BYTES:
            return ""
        return f"data:audio/{kinds[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"

    def script(self) -> str:
        """Return the script that makes the buttons play; "" without buttons."""
        sounds = {utt: url for utt, url in self._found.items() if url}
        text = json.dumps(sounds).replace("<", "\\u003c")
        return f"<script>const sounds = {text};{_PLAYER}</script>" if sounds else ""


def _configs(systems: Sequence[System]) -> str:
    parts = [
        f"<details><summary>{escape(system.name)}</summary><pre>{escape(system.config)}</pre></details>"
        for system in systems
        if system.config
    ]
    return "<h2>Configuration</h2>" + "".join(parts) if parts else ""
