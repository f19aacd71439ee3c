"""A model card, README.md of a bundle, in the format of model hubs: a block of YAML, then Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sv.config import Config
from sv.metrics.results import folder_name, markdown_table, read_results

_NOT_STATED = "not stated: ask whoever trained it before you use it"

_CARD = """---
{tags}---

# {name}

{network}: one embedding for each recording of a speaker.

## Use

`steps/verify.py --model THIS_FOLDER a.wav b.wav` says same, different or cannot tell. `model.onnx` takes `feats`
(batch, frames, {num_mels}), features with their mean, and returns `embs`. `front_end.onnx` computes them from
`waveform` (batch, samples), {rate} Hz, one channel, samples in [-1, 1]. Embeddings are compared by their
cosine, after the mean of a cohort (`mean.npy`) is subtracted if there is one. `calibration/cos.json` makes
log-likelihood ratios of the cosines.

## Thresholds

Log-likelihood ratios, and what they miss and accept falsely on the trials of the calibration
({trials}). Other trials have other rates.

| threshold | LLR | missed (%) | falsely accepted (%) |
| --- | ---: | ---: | ---: |
{thresholds}
## Data

{data}

## Licence

{licence}

## Results

In brackets: 95 % confidence intervals over speakers. Back-ends other than `cos` are not in this folder.

{results}
## Limits

Embeddings of other front-ends, or of other models, must not be compared with these. Recordings unlike the training
data (language, channel, rate, noise, very short speech) have other error rates than those above: measure and calibrate
on your own recordings before you rely on the thresholds. A voice can be imitated or synthesized; nothing here notices.
"""


@dataclass(frozen=True)
class About:
    """Facts for the card that are not in the files of a system.

    Attributes:
        licence: licence of the weights, as hubs name it: "apache-2.0".
        data: training data.
        language: language of the training data, as hubs name it: "en".
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
    fbank, results = config.dataset_args.fbank_args, exp_dir / "results.json"
    tags = {
        "license": about.licence or "unknown",
        **({"language": [about.language]} if about.language else {}),
        "library_name": "onnx",
        "tags": ["speaker-verification", "speaker-embedding", "onnx"],
    }
    loss = f", trained with the loss {config.loss}" if (exp_dir / "metrics.jsonl").is_file() else ""  # else imported
    return _CARD.format(
        tags=yaml.safe_dump(tags, sort_keys=False),
        name=folder_name(exp_dir),
        network=f"{config.model}{loss}",
        num_mels=fbank.num_mel_bins,
        rate=fbank.sample_rate,
        thresholds=_threshold_rows(thresholds),
        trials=_trials_of(thresholds.get("measured_on", {})),
        data=about.data or _NOT_STATED.capitalize(),
        licence=about.licence or _NOT_STATED.capitalize(),
        results=markdown_table({"": read_results(results)}) if results.is_file() else "Not measured.\n",
    )


def _threshold_rows(thresholds: Mapping[str, Any]) -> str:
    return "".join(
        f"| {name} | {entry['llr']:.2f} | {100 * entry['miss']:.2f} | {100 * entry['false_accept']:.2f} |\n"
        for name, entry in thresholds.items()
        if name != "measured_on"
    )


def _trials_of(measured_on: Mapping[str, Any]) -> str:
    kinds = {"num_target": "target", "num_nontarget": "non-target"}
    return ", ".join(f"{measured_on[key]} {kind}" for key, kind in kinds.items() if key in measured_on) or "not stated"
