"""The folds of a cross-validation: every speaker is tested once, by a network that did not hear him."""

import pytest

from sv.io import read_table

SPEAKERS = {f"{n:02}": ("fm"[n % 2], 20 + n) for n in range(13)}


@pytest.fixture
def data(tmp_path):
    """13 speakers of two utterances, and their copies at one speed."""
    for folder, mark in ((tmp_path / "all", ""), (tmp_path / "all_sp", "sp0.9-")):
        folder.mkdir()
        utts = {f"{spk}-{n}": spk for spk in SPEAKERS for n in (1, 2)}
        if mark:
            utts |= {f"{mark}{utt}": f"{mark}{spk}" for utt, spk in utts.items()}
        speakers = sorted(set(utts.values()))
        original = {spk: SPEAKERS[spk.removeprefix(mark)] for spk in speakers}
        tables = {
            "wav.scp": {utt: f"/audio/{utt}.wav" for utt in sorted(utts)},
            "utt2spk": dict(sorted(utts.items())),
            "spk2utt": {spk: " ".join(utt for utt in sorted(utts) if utts[utt] == spk) for spk in speakers},
            "spk2gender": {spk: sex for spk, (sex, _) in original.items()},
            "spk2age": {spk: age for spk, (_, age) in original.items()},
        }
        for name, table in tables.items():
            (folder / name).write_text("".join(f"{key} {value}\n" for key, value in table.items()))
    return tmp_path / "all"


@pytest.mark.slow
def test_every_speaker_is_tested_once_and_never_trained_on(data, run, tmp_path):
    result = run("local/make_folds.sh", "--num-folds", 3, "--num-nontarget", 20, data, tmp_path / "folds")
    assert result.returncode == 0, result.stderr
    tested, trials = [], {"O": "", "H": ""}
    for fold in (tmp_path / "folds" / f"fold{n}" for n in (1, 2, 3)):
        train, copies, test = (set(read_table(fold / name / "spk2utt")) for name in ("train", "train_sp", "test"))
        assert train == set(SPEAKERS) - test
        assert copies == train | {f"sp0.9-{spk}" for spk in train}
        assert abs(sum(SPEAKERS[spk][0] == "f" for spk in test) - 7 / 3) < 1
        tested += test
        for name in trials:
            text = (fold / "test" / "trials" / f"{name}.kaldi").read_text()
            assert {utt[:2] for line in text.splitlines() for utt in line.split()[:2]} <= test
            trials[name] += text
    assert sorted(tested) == sorted(SPEAKERS)
    for name, text in trials.items():
        assert (tmp_path / "folds" / "pooled" / "trials" / f"{name}.kaldi").read_text() == text


@pytest.mark.parametrize("folds", [1, 7])
def test_a_number_of_folds_that_cannot_be(data, run, tmp_path, folds):
    result = run("local/make_folds.sh", "--num-folds", folds, data, tmp_path / "folds")
    told = f"--num-folds {folds}: {data} has 13 speakers; give 2 to 6"
    assert (result.returncode, result.stderr) == (1, f"make_folds.sh: error: {told}\n")
