"""steps/make_report.py and compare.py on two small systems: the page is whole and fetches nothing."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv.io import sha256_of

Run = Callable[..., subprocess.CompletedProcess[str]]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def write_system(exp: Path, seed: int, speakers: Sequence[str] = "ABCDEF") -> None:
    """Six speakers of four utterances, all pairs scored."""
    rng = np.random.default_rng(seed)
    utts = [f"{spk}{n}" for spk in speakers for n in range(4)]
    lines = []
    for i, a in enumerate(utts):
        for b in utts[i + 1 :]:
            same = a[:-1] == b[:-1]
            lines.append(f"{a} {b} {rng.normal(1.5 * same):.5f} {'target' if same else 'nontarget'}\n")
    (exp / "scores").mkdir(parents=True)
    (exp / "scores" / "O.kaldi.score").write_text("".join(lines))
    trials = exp.parent / "data" / "trials"
    trials.mkdir(parents=True, exist_ok=True)
    (trials / "O.kaldi").write_text("".join(re.sub(r" \S+ (\S+)$", r" \1", line) for line in lines))
    (exp.parent / "data" / "utt2spk").write_text("".join(f"{utt} {utt[:-1]}\n" for utt in utts))
    (exp.parent / "data" / "wav.scp").write_text("".join(f"{utt} {exp.parent / 'wav' / utt}.wav\n" for utt in utts))
    (exp.parent / "data" / "spk2gender").write_text("".join(f"{spk} {'fm'[n > 2]}\n" for n, spk in enumerate(speakers)))
    (exp.parent / "wav").mkdir(exist_ok=True)
    for utt in utts:
        soundfile.write(exp.parent / "wav" / f"{utt}.wav", rng.normal(0, 0.1, 8 * 16000), 16000)
    (exp / "config.yaml").write_text("model: <b>x</b>\n")


@pytest.mark.slow
def test_page_of_two_systems_and_their_paired_test(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_system(tmp_path / name, seed)
        pairs = [line.split()[:2] for line in (tmp_path / name / "scores" / "O.kaldi.score").open()]
        lines = [f"{a} {b} {'near' if a[1] == b[1] else '<far>'}\n" for a, b in pairs]
        (tmp_path / "trial2cond").write_text("enroll test place\n" + "".join(lines))
        options = [tmp_path / name, "cos_result", tmp_path / "data" / "trials", "O.kaldi"]
        options += ["--test-data", tmp_path / "data", "--trial2cond", tmp_path / "trial2cond", "--llr", "true"]
        assert step("steps/compute_metrics.py", *options).returncode == 0
    pages = ["--test-data", tmp_path / "data", "--report", tmp_path / "all.html"]
    result = step("steps/compare.py", *pages, tmp_path / "a", tmp_path / "b")
    assert result.returncode == 0, result.stderr
    assert "| a | O | cos | " in result.stdout
    for measure in ("EER (%)", "minDCF (p_target 0.05)", "actDCF (p_target 0.05)", "Cllr"):
        assert result.stdout.count(f"| O | cos: a, b | {measure} | ") == 1
    page = (tmp_path / "all.html").read_text()
    assert "&lt;b&gt;x&lt;/b&gt;" in page and page.count("<svg") == 5  # scores, DET, costs, two of speakers
    assert not re.search(r"""(src|href)=["']?https?:|@import|url\(\s*["']?http""", page)
    assert page.count('<td class="word">place</td><td class="word">near</td>') == 2
    assert page.count('<td class="word">&lt;far&gt;</td>') == 2
    assert page.count('<td class="word">sex</td><td class="word">f / m</td>') == 2
    assert page.count("<th>minDCF 0.01</th><th>minDCF 0.05</th>") == 2  # of the parts
    assert "with EER (o) and minDCF at p_target 0.01 (x), 0.05 (+); at the edge: a rate of 0 or 100 %<" in page
    assert "<th>test: data</th>" in page and "training: " not in page
    buttons = re.findall(r'<button class="play" data-sound="(\w+)" aria-label="play (\w+)">', page)
    sounds = json.loads(re.findall(r"const sounds = (.*);", page)[0])
    assert {utt for utt, _ in buttons} == sounds.keys() and all(utt == named for utt, named in buttons)
    for utt, url in sounds.items():
        kind, _, data = url.partition(";base64,")
        flac, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
        whole, _ = soundfile.read(tmp_path / "wav" / f"{utt}.wav", dtype="int16")
        assert (kind, rate) == ("data:audio/flac", 16000) and np.array_equal(flac, whole[: 6 * 16000])
    assert sounds and sum(map(len, sounds.values())) < 1_500_000 < 23 * 200_000
    assert (tmp_path / "all_plots" / "det_O.png").read_bytes().startswith(b"\x89PNG")
    shutil.rmtree(tmp_path / "a" / "scores")
    result = step("steps/make_report.py", "--train-data", tmp_path / "data", tmp_path / "a")
    assert result.returncode == 0, result.stderr
    assert "its curves are left out" in result.stderr
    page = (tmp_path / "a" / "report.html").read_text()
    assert "<th>training: data</th>" in page and '<td class="word">speakers</td><td>6</td>' in page


def measure(step: Run, exp: Path, *options: object) -> None:
    result = step("steps/compute_metrics.py", *options, exp, "cos_result", exp.parent / "data" / "trials", "O.kaldi")
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_score_files_over_other_trials_are_refused_before_anything_is_printed(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        write_system(tmp_path / name, seed)
        measure(step, tmp_path / name)
    path = tmp_path / "c" / "scores" / "O.kaldi.score"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    results = tmp_path / "c" / "results.json"  # as if the shorter file had been measured
    entry = json.loads(results.read_text())
    entry["results"]["O.kaldi"]["cos"]["scores_sha256"] = sha256_of(path)
    results.write_text(json.dumps(entry))
    pages = ["--test-data", tmp_path / "data", "--report", tmp_path / "all.html"]
    result = step("steps/compare.py", *pages, *(tmp_path / name for name in "abc"))
    assert result.returncode == 1 and result.stdout == "" and not (tmp_path / "all.html").exists()
    assert "c/scores/O.kaldi.score ends after 275 trials, " in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_systems_are_named_by_their_folders(step: Run, tmp_path: Path) -> None:
    for seed, name in enumerate(("a/x", "b/x")):
        write_system(tmp_path / name, seed)
        measure(step, tmp_path / name)
    folders = [tmp_path / "a" / "x", tmp_path / "b" / "x" / "scores" / ".."]
    for script in ("steps/compare.py", "steps/summarize_results.py"):
        rows = step(script, *folders).stdout.split("\n\n")[0].splitlines()[2:]
        assert [row.split(" | ")[0] for row in rows] == ["| a/x", "| b/x"]
        result = step(script, folders[1], tmp_path / "b" / "x")
        assert result.returncode == 1 and result.stdout == "" and "b/x is given twice" in result.stderr
    assert "| x | O | cos |" in step("steps/summarize_results.py", folders[1]).stdout
    assert step("steps/compare.py", folders[0]).returncode == 2
    pages = ["--test-data", tmp_path / "a" / "data", "--report", tmp_path / "all.html"]
    result = step("steps/compare.py", *pages, *folders)
    assert result.returncode == 0 and "| O | cos: a/x, b/x | EER (%) |" in result.stdout, result.stderr
    assert (tmp_path / "all_plots" / "speakers_a_x_O_cos.png").is_file()


def nearest_to_equal(scores: Path) -> list[float]:
    """Return misses and false accepts in percent at the score where they differ least."""
    lines = [line.split() for line in scores.read_text().splitlines()]
    kinds = [np.array([float(line[2]) for line in lines if line[3] == kind]) for kind in ("target", "nontarget")]
    points = [(100 * (kinds[0] < at).mean(), 100 * (kinds[1] >= at).mean()) for at in np.concatenate(kinds)]
    return [round(float(share), 2) for share in min(points, key=lambda point: abs(point[0] - point[1]))]


PROBE = r"""<script>
const told = {width: document.documentElement.scrollWidth, window: innerWidth, small: [], cut: []};
for (const text of document.querySelectorAll("svg text, td, th, p, dd, figcaption, output, summary, label")) {
  const svg = text.ownerSVGElement, ctm = svg && text.getScreenCTM(), box = text.getBoundingClientRect();
  const scale = svg ? Math.hypot(ctm.a, ctm.b) : 1;
  if (!box.width || !text.textContent.trim()) continue;
  if (parseFloat(getComputedStyle(text).fontSize) * scale < 9.95) told.small.push(text.textContent);
  const room = svg ? svg.getBoundingClientRect() : {left: 0, right: innerWidth};
  const cut = box.right > room.right + 1 || box.left < room.left - 1;
  if (cut && !text.closest(".wide")) told.cut.push(text.textContent);
}
told.errors = document.querySelector(".histogram output").textContent.match(/[\d.]+(?= %)/g).map(Number);
const table = document.querySelector(".sortable"), scroller = table.parentElement.getBoundingClientRect();
table.style.letterSpacing = "1px";  // as with a wider font
told.first = table.querySelector("td:not(.word)").getBoundingClientRect().right <= scroller.right;
told.filled = document.querySelectorAll(".histogram path").length;
parent.postMessage(told, "*");
</script>"""
FRAME = """<body style="margin: 0"><pre id="told"></pre><script>
onmessage = event => { document.getElementById("told").textContent = JSON.stringify(event.data); };
</script><iframe src="probe.html" style="border: 0; height: 3000px; width: WIDTHpx"></iframe>
"""  # the browser's own window cannot be as narrow as a telephone's


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no chromium to look at the page with")
@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1280, "dark")])
def test_page_fits_its_window_in_a_browser(step: Run, tmp_path: Path, width: int, scheme: str) -> None:
    from matplotlib.image import imread  # a third of a second, which a worker that only collects should not take

    write_system(tmp_path / "a-system-with-a-long-name", 0, speakers=[f"SPEAKER000{n}" for n in range(6)])
    measure(step, tmp_path / "a-system-with-a-long-name", "--test-data", tmp_path / "data", "--llr", "true")
    folders = ["--train-data", tmp_path / "data", "--test-data", tmp_path / "data"]
    assert step("steps/make_report.py", *folders, tmp_path / "a-system-with-a-long-name").returncode == 0
    page = tmp_path / "a-system-with-a-long-name" / "report.html"
    browser = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},3000"]
    browser += ["--hide-scrollbars", f"--blink-settings=preferredColorScheme={['dark', 'light'].index(scheme)}"]
    picture = tmp_path / "page.png"
    subprocess.run([*browser, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True, timeout=120)
    pixels = imread(picture)[:, :, :3]
    assert pixels.shape[1] == width and (np.median(pixels) > 0.5) == (scheme == "light")
    page.with_name("probe.html").write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    look = [*browser, "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()]
    seen = subprocess.run(look, check=True, capture_output=True, timeout=120)
    told = json.loads(html.unescape(re.findall(r'<pre id="told">(.*?)</pre>', seen.stdout.decode())[0]))
    assert told.pop("errors") == nearest_to_equal(page.parent / "scores" / "O.kaldi.score")
    assert told == {"width": width, "window": width, "small": [], "cut": [], "first": True, "filled": 2}
