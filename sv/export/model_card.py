"""A model card, README.md of a bundle, in the format of model hubs: a block of YAML, then Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sv.config import Config
from sv.metrics.results import folder_name, markdown_table, read_results

_NOT_STATED = "not stated: ask whoever trained it before you use it"


@dataclass(frozen=True)
class About:
    """Facts that the files of a system do not tell.

    Attributes:
        licence: of the weights, as hubs name it: "apache-2.0".
        data: what it was trained on.
        language: of the training data, as hubs name it: "en".
    """

    licence: str = ""
    data: str = ""
    language: str = ""


def model_card(exp_dir: Path, config: Config, thresholds: Mapping[str, Any], about: About) -> str:
    """Return the model card of a system.

    Args:
        exp_dir: its folder; results.json is read if it is there.
        config: its configuration.
        thresholds: entry of a back-end in thresholds.json.
        about: licence, data and language.
    """
    fbank = config.dataset_args.fbank_args
    tags = {
        "license": about.licence or "unknown",
        **({"language": [about.language]} if about.language else {}),
        "library_name": "onnx",
        "tags": ["speaker-verification", "speaker-embedding", "onnx"],
    }
    results = exp_dir / "results.json"
    table = markdown_table({"": read_results(results)}) if results.is_file() else "Not measured.\n"
    loss = f", trained with the loss {config.loss}" if (exp_dir / "metrics.jsonl").is_file() else ""  # else imported
    measured_on = thresholds.get("measured_on", {})
    counts = [f"{measured_on[key]} {key[4:]}s" for key in ("num_target", "num_nontarget") if key in measured_on]
    rows = "".join(
        f"| {name} | {entry['llr']:.2f} | {100 * entry['miss']:.2f} | {100 * entry['false_accept']:.2f} |\n"
        for name, entry in thresholds.items()
        if name != "measured_on"
    )
    return f"""---
{yaml.safe_dump(tags, sort_keys=False)}---

# {folder_name(exp_dir)}

{config.model}{loss}: one embedding for each recording of a speaker.

## Use

`steps/verify.py --model THIS_FOLDER a.wav b.wav` says same, different or cannot tell. `model.onnx` takes `feats`
(batch, frames, {fbank.num_mel_bins}), features with their mean, and returns `embs`. `front_end.onnx` computes them from
`waveform` (batch, samples), {fbank.sample_rate} Hz, one channel, samples in [-1, 1]. Embeddings are compared by their
cosine, after the mean of a cohort (`mean.npy`) is subtracted if there is one. `calibration/cos.json` makes
log-likelihood ratios of the cosines.

## Thresholds

Log-likelihood ratios, and what they miss and accept falsely on the trials of the calibration
({", ".join(counts) or "not stated"}). Other trials have other rates.

| threshold | LLR | missed (%) | falsely accepted (%) |
| --- | ---: | ---: | ---: |
{rows}
## Data

{about.data or _NOT_STATED.capitalize()}

## Licence

{about.licence or _NOT_STATED.capitalize()}

## Results

In brackets: 95 % confidence intervals over speakers. Back-ends other than `cos` are not in this folder.

{table}
## Limits

Embeddings of other front-ends, or of other models, must not be compared with these. Recordings unlike the training
data (language, channel, rate, noise, very short speech) have other error rates than those above: measure and calibrate
on your own recordings before you rely on the thresholds. A voice can be imitated or synthesized; nothing here notices.
"""
