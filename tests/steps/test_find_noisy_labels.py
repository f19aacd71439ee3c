"""steps/find_noisy_labels.py on embeddings that a linear head tells apart, with some labels wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sv.config import load_config, save_config
from sv.io import ArkWriter, read_table, write_table
from sv.system import make_system
from sv.training.checkpoint import save_tensors
from sv.training.network import build_network

WRONG = {"a1": "b", "c4": "a", "d2": "c"}


@pytest.fixture
def system(tmp_path):
    """A system whose embeddings lie near the weight vectors of four speakers; (exp dir, data dir)."""
    exp, data = tmp_path / "exp", tmp_path / "train"
    data.mkdir()
    true = {f"{spk}{n}": spk for spk in "abcd" for n in range(6)}
    write_table(data / "utt2spk", true | WRONG)
    write_table(data / "utt2spk_true", true)
    (tmp_path / "c.yaml").write_text("model: XVEC\nmodel_args: {embed_dim: 8}\nloss: aam\n")
    config = make_system(tmp_path / "c.yaml").model_copy(update={"num_speakers": 3})
    save_config(config, exp / "config.yaml")
    write_table(exp / "spk2id", {"a": 0, "b": 1, "c": 2})  # d was held out
    net = build_network(config)
    with torch.no_grad():
        net.head.weight.copy_(torch.eye(8)[:3])
    (exp / "models").mkdir()
    save_tensors(net.flat_state(), exp / "models" / "avg_model.pt")
    out = exp / "embeddings" / "train"
    out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with ArkWriter(out / "xvector.ark", out / "xvector.scp") as writer:
        for utt, spk in true.items():
            writer.write(utt, np.eye(8, dtype=np.float32)["abcd".index(spk)] + 0.1 * rng.normal(size=8))
    return exp, data


def rows(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_wrong_labels_come_first_with_the_true_speaker_beside_them(step, system):
    exp, data = system
    done = step("steps/find_noisy_labels.py", exp, data)
    assert done.returncode == 0, done.stderr
    out, truth = exp / "noisy_labels" / "train", read_table(data / "utt2spk_true")
    cosine, loss = rows(out / "cosine"), rows(out / "loss")
    assert {utt for utt, *_ in cosine[:3]} == set(WRONG) == {utt for utt, *_ in loss[:3]}
    for utt, spk, _, other in cosine[:3]:
        assert (spk, other) == (WRONG[utt], truth[utt])
    scores = [float(score) for _, _, score, *_ in loss]
    assert scores == sorted(scores, reverse=True)
    assert len(cosine) == 24
    assert {spk for _, spk, *_ in loss} == {"a", "b", "c"}
    report = json.loads((out / "report.json").read_text())
    probabilities = [float(right) for *_, right in loss]
    assert probabilities == sorted(probabilities) and max(probabilities[:3]) < 0.5 <= probabilities[3]
    assert set((out / "suspected").read_text().split()) == set(WRONG)
    assert report.pop("suspected") == {"utterances": 3, "precision": 1.0, "recall": 1.0}
    assert report["cosine"] == report["loss"] == {"wrong": 3, "precision": 1.0, "average_precision": 1.0}
    (data / "utt2spk_true").unlink()
    done = step("steps/find_noisy_labels.py", exp, data)
    assert done.returncode == 0
    assert "utt2spk_true does not exist: precision and recall cannot be measured" in done.stderr
    assert not (out / "report.json").exists()  # it was of the rankings before


@pytest.mark.slow
def test_what_is_missing_is_one_line(step, system, tmp_path):
    exp, data = system

    def refused(*words):
        done = step("steps/find_noisy_labels.py", exp, data, *words)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr.splitlines()[-1]

    trained = load_config(exp / "config.yaml")
    for loss, why in (("ge2e", "compares utterances with one another"), ("teacher", "reads no labels")):
        save_config(trained.model_copy(update={"loss": loss, "loss_args": {}}), exp / "config.yaml")
        assert f"/config.yaml: loss {loss} {why}, so it ranks none; train with one such as sphereface2" in refused()
    save_config(trained, exp / "config.yaml")
    assert "none.txt does not exist; give a file" in refused("--truth", tmp_path / "none.txt")
    write_table(tmp_path / "part", {"a0": "a"})
    assert "part lacks 23 utterances of" in refused("--truth", tmp_path / "part")
    scp = exp / "embeddings" / "train" / "xvector.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[:-2]))
    assert "xvector.scp lacks 2 utterances" in refused()
    write_table(scp.with_name("bad_utts"), dict.fromkeys(["d4", "d5"], "d.wav: truncated"))
    done = step("steps/find_noisy_labels.py", exp, data)
    assert done.returncode == 0 and "cosine: 22 of 22 utterances" in done.stderr
    scp.unlink()
    assert "xvector.scp does not exist; extract them: steps/extract_embeddings.sh" in refused()
    write_table(data / "utt2spk", {"a0": "a", "a1": "a"})
    assert "has only one speaker" in refused()
