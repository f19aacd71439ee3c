"""steps/plot_augmentation.py: a picture and waveforms of one utterance, by the configuration of a system."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps import plot_augmentation
from sv.io import write_table


@pytest.mark.slow
def test_the_configuration_decides_and_names_with_dots_are_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for folder, name in (("data", "a"), ("noise", "noise/n")):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", rng.normal(0, 0.1, 8000), 8000)
        write_table(tmp_path / folder / "wav.scp", {name: tmp_path / folder / "x.wav"})
    write_table(tmp_path / "data/utt2spk", {"a": "a"})
    out = tmp_path / "system.v1"
    options = ["--config", root / "egs/voxceleb/conf/resnet34_8k.yaml", "--noise-data", tmp_path / "noise"]
    words = [tmp_path / "data", "a", out, *options, "--wav", "true"]
    monkeypatch.setattr(sys, "argv", ["plot_augmentation.py", *map(str, words)])
    plot_augmentation.main()
    kinds = ("clean", "noise", "telephone")
    found = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert found == {"system.v1.png", *(f"system.v1-{kind}.wav" for kind in kinds)}
    sounds = {kind: soundfile.read(tmp_path / f"system.v1-{kind}.wav") for kind in kinds}
    assert {rate for _, rate in sounds.values()} == {8000}
    spectrum = np.abs(np.fft.rfft(sounds["telephone"][0]))
    assert spectrum[3700:].mean() < 0.1 * spectrum[500:3000].mean()  # beyond 3400 Hz there is nothing
