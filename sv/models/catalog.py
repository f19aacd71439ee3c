"""Facts of each encoder before it is trained: its size, its FLOPs, and whose checkpoints it loads.

They are in catalog.csv, so that showing them needs no torch and builds no network. After a change of an encoder,
`steps/list_models.py --renew` rewrites that file; a test compares it with the networks.
"""

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sv.io import atomic_write
from sv.models import MODELS, build_model

FRAMES = 200  # 2 s
_NEEDED = {  # options without a default
    "ReDimNet": {"channels": 8, "block_2d_type": "basic_resnet", "group_divisor": 1, "stages_setup": [[1, 1, 1, 16]]},
    "ReDimNet2": {"channels": 8, "stages_setup": [[[1, 1], 1, 1, 16]]},
}
CHECKPOINTS = {  # by the builder's module
    "resnet": "WeSpeaker",
    "simam_resnet": "WeSpeaker, VoxBlink2",
    "ecapa_tdnn": "WeSpeaker",
    "ecapa_speechbrain": "SpeechBrain, 3D-Speaker",
    "ge2e_lstm": "Resemblyzer",
    "xvector": "WeSpeaker",
    "campplus": "WeSpeaker, 3D-Speaker",
    "redimnet": "WeSpeaker",
    "redimnet2": "WeSpeaker",
    "res2net": "WeSpeaker",
    "eres2net": "WeSpeaker, 3D-Speaker",
    "eres2netv2": "3D-Speaker",
    "gemini_dfresnet": "WeSpeaker",
    "repvgg": "WeSpeaker",
    "wavlm": "torchaudio, Microsoft (WavLM)",
}
_OTHERS = {"resnet_small": "", "ReDimNet": "ReDimNet's authors", "ReDimNet2": "ReDimNet2's authors"}


@dataclass(frozen=True)
class Entry:
    """An encoder with its default options.

    Attributes:
        name: as in `model:` of a configuration.
        embedding_dim: dimension of its embeddings.
        parameters: number of learnt values; None: the options have no defaults.
        flops: FLOPs of one embedding of 2 s, a product and a sum counted as two; None as for `parameters`.
        checkpoints: toolkits whose published models it loads; "" for none.
    """

    name: str
    embedding_dim: int
    parameters: int | None
    flops: int | None
    checkpoints: str


_FILE = Path(__file__).with_suffix(".csv")


def describe(name: str) -> Entry:
    """Return the entry of one encoder from catalog.csv; one that is missing there is measured.

    Raises:
        UserError: the name is unknown.
    """
    with open(_FILE, newline="") as f:
        row = next((row for row in csv.DictReader(f) if row["name"] == name), None)
    if row is None:
        return measure(name)
    parameters, flops = (int(row[field]) if row[field] else None for field in ("parameters", "flops"))
    return Entry(name, int(row["embedding_dim"]), parameters, flops, row["checkpoints"])


def renew() -> None:
    """Measure all encoders and write catalog.csv."""
    with atomic_write(_FILE) as f:
        writer = csv.DictWriter(f, [field.name for field in fields(Entry)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(measure(name)) for name in MODELS.names())


def measure(name: str) -> Entry:
    """Build an encoder without values, run it, and return its entry; nothing is computed, so that memory is not needed.

    Raises:
        UserError: the name is unknown.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = build_model(name, _NEEDED.get(name, {})).eval()
    checkpoints = _OTHERS.get(name, CHECKPOINTS[type(model).__module__.rpartition(".")[2]])
    if name in _NEEDED:
        return Entry(name, model.embedding_dim, None, None, checkpoints)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, FRAMES, model.feat_dim, device="meta"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Entry(name, model.embedding_dim, parameters, counter.get_total_flops(), checkpoints)


HEADER = (
    "| `model` | parameters (M) | GFLOPs of 2 s | dim | loads checkpoints of |",
    "| --- | ---: | ---: | ---: | --- |",
)


def table(names: list[str]) -> Iterator[str]:
    """Yield the lines of a Markdown table of the encoders with these names; of all if there are none."""
    yield from HEADER
    for entry in map(describe, names or MODELS.names()):
        parameters = "" if entry.parameters is None else f"{entry.parameters / 1e6:.2f}"
        flops = "" if entry.flops is None else f"{entry.flops / 1e9:.2f}"
        yield f"| `{entry.name}` | {parameters} | {flops} | {entry.embedding_dim} | {entry.checkpoints} |"
