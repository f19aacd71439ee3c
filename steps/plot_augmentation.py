#!/usr/bin/env python3
"""Draw one utterance without augmentation and with each kind of it, to see and hear the input of training.

Reads   <data-dir>/wav.scp; folders of noise and of impulse responses, as for training; with --config a system's
        fbank_args, augment_args and telephone_prob (if it is not 0, a telephone line is drawn, too)
Writes  <out>.png, the log-mel features of each kind, one below the other; with --wav true also <out>-<kind>.wav

e.g.: steps/plot_augmentation.py --noise-data data/noises --reverb-data data/rirs data/train 000010011 augmented
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import _path  # noqa: F401

from sv.errors import UserError, check_seed, run_step

if TYPE_CHECKING:
    from torch import Tensor

    from sv.config import DatasetArgs, FbankConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="data dir with the utterance")
    parser.add_argument("utt", help="name of the utterance")
    parser.add_argument("out", type=Path, help="without .png")
    parser.add_argument("--noise-data", default="", help="data dir of noise; empty: none")
    parser.add_argument("--reverb-data", default="", help="data dir of impulse responses; empty: none")
    parser.add_argument("--config", type=Path, help="YAML of a system")
    parser.add_argument("--wav", choices=["true", "false"], default="false", help="also write the waveforms")
    parser.add_argument("--seed", type=int, default=0, help="seed of the augmentation")
    args = parser.parse_args()
    check_seed(args.seed)
    from sv.config import DatasetArgs, load_config

    system = load_config(args.config).dataset_args if args.config else DatasetArgs()
    sounds = _augmented(args, system)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    _draw(sounds, system.fbank_args, args.out.with_name(f"{args.out.name}.png"))
    if args.wav == "true":
        import soundfile

        for title, waveform in sounds.items():
            path = args.out.with_name(f"{args.out.name}-{title.split()[0]}.wav")
            soundfile.write(path, waveform[0].numpy(), system.fbank_args.sample_rate, subtype="FLOAT")


def _augmented(args: argparse.Namespace, system: "DatasetArgs") -> "dict[str, Tensor]":
    """Return waveforms (1, samples) by title: the clean utterance, and each kind of augmentation."""
    from sv.audio.utterances import Utterances
    from sv.data import Augmenter, ClipFolders
    from sv.io import DataDir

    config = system.fbank_args
    utterances = Utterances(DataDir(args.data_dir), config.sample_rate)
    if args.utt not in utterances.ids:
        raise UserError(f"{args.utt} is not in {utterances.source}; give one of its ids, such as {utterances.ids[0]}")
    augmenter = Augmenter(
        system.augment_args,
        ClipFolders(args.noise_data, args.reverb_data),
        prob=1.0,
        seed=args.seed,
        sample_rate=config.sample_rate,
    )
    import torch  # takes seconds

    from sv.audio.telephone import telephone

    clean = torch.from_numpy(utterances.read(args.utt))[None]
    sounds = {"clean": clean}
    for kind in augmenter.kinds:
        waveform, what = augmenter.augment(args.utt, clean, kind)
        sounds[what if len(what) < 90 else f"{what[:87]}..."] = waveform
    if system.telephone_prob:
        sounds["telephone"] = telephone(clean, config.sample_rate)
    return sounds


def _draw(sounds: "dict[str, Tensor]", config: "FbankConfig", path: Path) -> None:
    """Draw the features of (1, samples) waveforms by title, one below the other."""
    from matplotlib.figure import Figure
    from PIL import Image

    from sv.audio.centered_fbank import make_fbank

    figure = Figure(figsize=(7, 1.3 * len(sounds)), layout="constrained", dpi=160)
    axes = figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0]
    fbank = make_fbank(config)
    images = {title: fbank(waveform)[0].T.numpy() for title, waveform in sounds.items()}
    low, high = (float(f(image.max() for image in images.values())) for f in (min, max))
    for axis, (title, image) in zip(axes, images.items(), strict=True):
        end = image.shape[1] * config.frame_shift / 1000
        extent = (0, end, 0, config.num_mel_bins)
        axis.imshow(image, aspect="auto", origin="lower", extent=extent, vmin=low - 14, vmax=high, cmap="magma")
        axis.set_title(title, fontsize=8, loc="left", pad=2)
        axis.tick_params(labelsize=7)
    axes[-1].set_xlabel("s", fontsize=8)
    axes[len(axes) // 2].set_ylabel("mel bin", fontsize=8)
    figure.savefig(path)
    Image.open(path).convert("RGB").quantize(32).save(path, optimize=True)  # a third of the bytes, as clear


if __name__ == "__main__":
    run_step(main)
