import os
import subprocess

import pytest

SPEAKERS = {"train": {"0001": ("m", 6), "0003": ("f", 30)}, "test": {"0002": ("f", 12), "0004": ("f", 11)}}


@pytest.fixture
def corpus(tmp_path):
    """As distributed: tabs, .WAV; two speakers of two utterances a set."""
    root = tmp_path / "speechocean762"
    for name, speakers in SPEAKERS.items():
        (root / name).mkdir(parents=True)
        utts = {f"0{spk}{n:04d}": spk for spk in speakers for n in (11, 35)}
        tables = {
            "wav.scp": {utt: f"WAVE/SPEAKER{spk}/{utt}.WAV" for utt, spk in utts.items()},
            "utt2spk": utts,
            "spk2gender": {spk: sex for spk, (sex, _) in speakers.items()},
            "spk2age": {spk: age for spk, (_, age) in speakers.items()},
        }
        for table, rows in tables.items():
            (root / name / table).write_text("".join(f"{key}\t{value}\n" for key, value in rows.items()))
        for path in tables["wav.scp"].values():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
    return root


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def test_as_distributed(corpus, tmp_path, run, step):
    result = step("local/prepare_speechocean762.py", corpus, tmp_path / "data")
    assert result.returncode == 0, result.stderr
    train, test = tmp_path / "data" / "train", tmp_path / "data" / "test"
    assert (train / "wav.scp").read_text().splitlines()[0] == f"000010011 {corpus}/WAVE/SPEAKER0001/000010011.WAV"
    assert (train / "utt2spk").read_text().splitlines()[0] == "000010011 0001"
    assert (train / "spk2utt").read_text().splitlines()[0] == "0001 000010011 000010035"
    assert (train / "spk2age").read_text() == "0001 6\n0003 30\n"
    assert (test / "trials" / "O.kaldi").read_text().splitlines() == (
        test / "trials" / "H.kaldi"
    ).read_text().splitlines()
    assert (test / "trials" / "O.kaldi").read_text().count("\n") == 2 + 4
    for folder in (train, test):
        assert run("tools/validate_data_dir.sh", "--no-feats", folder).returncode == 0


def test_a_copy_in_flac_whose_lists_say_wav(corpus, tmp_path, step):
    for path in corpus.rglob("*.WAV"):
        path.rename(path.with_suffix(".flac"))
    assert step("local/prepare_speechocean762.py", corpus, tmp_path / "data").returncode == 0
    assert ".flac" in (tmp_path / "data" / "test" / "wav.scp").read_text()


def test_relative_paths_are_those_of_the_caller(corpus, tmp_path, step):
    assert step("local/prepare_speechocean762.py", "speechocean762", "data", cwd=tmp_path).returncode == 0
    assert f" {corpus}/WAVE" in (tmp_path / "data" / "test" / "wav.scp").read_text()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda c: os.rename(c, f"{c}2"), "does not exist; give --corpus"),
        (lambda c: os.rename(c / "train", c / "x"), "train does not exist; give the folder that holds WAVE/"),
        (lambda c: (c / "WAVE/SPEAKER0001/000010035.WAV").unlink(), "000010035.WAV does not exist, though "),
        (lambda c: edit(c / "train/utt2spk", "000010035\t0001\n", ""), "utt2spk: utterance 000010035 is missing"),
        (lambda c: (c / "test/spk2age").unlink(), "test/spk2age does not exist; unpack the corpus again"),
        (lambda c: edit(c / "test/spk2gender", "0004", "0009"), "spk2gender: speaker 0004 is missing"),
        (lambda c: edit(c / "test/spk2gender", "f", "w"), "spk2gender: speaker 0002 has 'w'; write f or m"),
        (lambda c: edit(c / "train/utt2spk", "\t0003", "\t0000"), "do not sort like their speakers"),
        (lambda c: (c / "train/wav.scp").write_text(""), "train/wav.scp is empty"),
        (
            lambda c: subprocess.run(f"cp {c}/test/* {c}/train", shell=True, check=True),
            "speakers are in train and test",
        ),
    ],
)
def test_bad_corpora_get_one_line_and_write_nothing(corpus, tmp_path, step, break_it, message):
    break_it(corpus)
    result = step("local/prepare_speechocean762.py", corpus, tmp_path / "data")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_real_corpus(corpora, tmp_path, run, step):
    result = step("local/prepare_speechocean762.py", corpora / "speechocean762", tmp_path)
    assert result.returncode == 0, result.stderr
    for name, (speakers, utts) in {"train": (125, 2000), "test": (75, 750)}.items():
        assert (tmp_path / name / "spk2utt").read_text().count("\n") == speakers
        assert (tmp_path / name / "wav.scp").read_text().count("\n") == utts
        checked = run("tools/validate_data_dir.sh", "--no-feats", tmp_path / name)
        assert checked.returncode == 0, checked.stderr
