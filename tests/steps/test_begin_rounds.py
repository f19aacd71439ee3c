"""steps/begin_rounds.py: the held-out speakers of a teacher's clusters, and how the teacher reads the labelled data."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from sv.config import parse_config, save_config
from sv.io import ArkWriter
from sv.system import resolve
from tests.sv.noise_verifier import ARGS, MELS, make_model

Step = Callable[..., subprocess.CompletedProcess[str]]
SPEAKERS = "abcdef"


def test_held_out_speakers_are_those_of_the_data_dir_or_of_a_teacher_trained_on_this_data(
    step: Step, tmp_path: Path
) -> None:
    teacher, data, exp = tmp_path / "teacher", tmp_path / "data", tmp_path / "exp"
    for folder in (teacher, data, exp):
        folder.mkdir()
    make_model(teacher)
    utts = [f"{spk}{n}" for spk in SPEAKERS for n in range(2)]
    (data / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
    (data / "utt2num_frames").write_text("".join(f"{utt} 3\n" for utt in utts))
    with ArkWriter(data / "feats.ark", data / "feats.scp") as writer:
        for utt in utts:
            writer.write(utt, np.zeros((3, MELS), dtype=np.float32))
    (data / "fbank.yaml").write_text(yaml.safe_dump({"num_mel_bins": MELS}))
    tree = {"model": "resnet_small", "model_args": ARGS, "heldout_speakers": 2}
    tree["dataset_args"] = {"fbank_args": {"num_mel_bins": MELS}}
    save_config(resolve(parse_config(tree, "test"), "test"), exp / "system.yaml")

    def begin(known: int = 0) -> tuple[list[str], str]:
        result = step("steps/begin_rounds.py", data, teacher, exp)
        assert result.returncode == 0, result.stderr
        told = f"{known} held-out speakers were trained on in {teacher}: their EER will be optimistic"
        assert (told in result.stderr) == (known > 0), result.stderr
        return (exp / "round0" / "heldout_spk").read_text().split(), result.stdout

    drawn, feats = begin()  # a teacher that held out none
    assert len(drawn) == 2 and set(drawn) < set(SPEAKERS) and feats == "ark\n"
    (teacher / "spk2id").write_text("".join(f"{spk} {number}\n" for number, spk in enumerate(SPEAKERS)))
    assert begin(known=2)[0] == drawn
    (teacher / "spk2id").write_text("b 0\nd 1\ne 2\n")
    (teacher / "heldout_spk").write_text("f\na\nc\n")
    assert begin()[0] == ["f", "a", "c"]
    (teacher / "heldout_spk").write_text("f\nstranger\n")  # of another corpus
    assert begin(known=len(set(drawn) & set("bde")))[0] == drawn
    (teacher / "heldout_spk").write_text("f\na\nc\n")
    (data / "heldout_spk").write_text("e\nb\n")  # the data dir's own come first, as in training
    assert begin(known=2)[0] == ["b", "e"]
    (data / "fbank.yaml").write_text(yaml.safe_dump({"num_mel_bins": 2 * MELS}))
    assert begin(known=2)[1] == "online\n"  # it needs other features
