"""tools/corrupt_labels.py: how many labels become wrong, whose, and that the data dir stays valid."""

import os
from collections import Counter
from pathlib import Path

import pytest

from sv.io import DataDir, read_table, write_table


def make(folder: Path, *, speakers=5, utts=7, prefix="s") -> Path:
    """A valid data dir of features that are not there."""
    names = {f"{prefix}{s}-u{u}": f"{prefix}{s}" for s in range(speakers) for u in range(utts)}
    folder.mkdir()
    (folder / "feats.ark").write_bytes(bytes(1000))
    DataDir.write(
        folder,
        {
            "utt2spk": names,
            "feats.scp": {utt: f"{folder}/feats.ark:{n}" for n, utt in enumerate(names)},
            "utt2num_frames": dict.fromkeys(names, 100),
            "spk2gender": dict.fromkeys(names.values(), "f"),
        },
    )
    (folder / "fbank.yaml").write_text("num_mel_bins: 80\n")
    return folder


@pytest.fixture
def corrupt(run, step, tmp_path):
    """Corrupt tmp_path/data into tmp_path/new, check the result, and return its tables of labels, wrong and true."""

    def corrupt_it(*words, dest="new"):
        done = step("tools/corrupt_labels.py", *words, tmp_path / "data", tmp_path / dest)
        assert done.returncode == 0, done.stderr
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
        check = run("tools/validate_data_dir.sh", "--no-wav", "--no-spk-sort", tmp_path / dest)
        assert check.returncode == 0, check.stderr
        return read_table(tmp_path / dest / "utt2spk"), read_table(tmp_path / dest / "utt2spk_true")

    return corrupt_it


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["symmetric", "classwise"])
def test_the_share_is_exact_and_all_else_is_kept(corrupt, tmp_path, kind):
    data = make(tmp_path / "data")
    for ratio, count in ((0, 0), (0.1, 4), (0.99, 35)):
        labels, true = corrupt("--kind", kind, "--ratio", ratio)
        assert true == read_table(data / "utt2spk")
        assert sum(labels[utt] != true[utt] for utt in true) == count
        assert labels.keys() == true.keys()
        assert set(labels.values()) <= set(true.values())
    for name in ("feats.scp", "utt2num_frames", "fbank.yaml"):
        assert (tmp_path / "new" / name).read_bytes() == (data / name).read_bytes()


@pytest.mark.slow
def test_merge_and_split_make_the_classes_of_a_clustering(corrupt, step, tmp_path):
    data = make(tmp_path / "data", speakers=6, utts=6)
    labels, true = corrupt("--kind", "merge", "--ratio", 0.5, dest="merged")
    assert sorted(Counter(labels.values()).values()) == [12, 12, 12]
    assert all(len({true[utt] for utt in true if labels[utt] == spk}) == 2 for spk in labels.values())
    labels, true = corrupt("--kind", "split", "--ratio", 5 / 36, dest="split")
    sizes = Counter(labels.values())
    assert sorted(sizes.values()) == [2, 3, 3, 4, 6, 6, 6, 6]  # one speaker in half, and one in part
    assert all(true[utt] == spk.removesuffix("-split") for utt, spk in labels.items())
    assert read_table(tmp_path / "split" / "spk2gender").keys() == sizes.keys()
    refused = step("tools/corrupt_labels.py", "--kind", "split", "--ratio", 0.6, data, tmp_path / "no")
    assert (
        refused.returncode == 1 and "--ratio asks for 22 wrong labels, and this kind can make only 18" in refused.stderr
    )
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_classwise_noise_goes_to_one_other_speaker_each(corrupt, tmp_path):
    make(tmp_path / "data")
    labels, true = corrupt("--kind", "classwise", "--ratio", 0.3)
    flows = Counter((true[utt], labels[utt]) for utt in true if labels[utt] != true[utt])
    assert len({source for source, _ in flows}) == len({target for _, target in flows}) == len(flows) == 5
    assert set(flows.values()) <= {2, 3}  # 0.3 x 7 = 2.1, within one


@pytest.mark.slow
def test_symmetric_noise_goes_to_all_others(corrupt, tmp_path):
    make(tmp_path / "data", speakers=4, utts=60)
    labels, true = corrupt("--ratio", 0.5)
    flows = Counter((true[utt], labels[utt]) for utt in true if labels[utt] != true[utt])
    assert len(flows) == 12
    assert min(flows.values()) >= 3  # 120 utterances on 12 pairs, 10 each on average


@pytest.mark.slow
def test_openset_noise_replaces_utterances_and_keeps_the_sizes_of_the_speakers(corrupt, tmp_path):
    data, outside = make(tmp_path / "data"), make(tmp_path / "outside", prefix="x")
    labels, true = corrupt("--kind", "openset", "--outside", outside, "--ratio", 0.4)
    before = read_table(data / "utt2spk")
    assert Counter(labels.values()) == Counter(before.values())
    foreign = {utt for utt in labels if utt.startswith("x")}
    assert len(foreign) == 14 and len(labels) == 35
    assert {utt: true[utt] for utt in foreign} == {utt: utt[:2] for utt in foreign}
    assert {utt: labels[utt] for utt in labels.keys() - foreign} == {u: before[u] for u in labels.keys() - foreign}
    assert set(read_table(tmp_path / "new/spk2gender")) == set(before.values())


@pytest.mark.slow
def test_the_seed_decides(corrupt, tmp_path):
    make(tmp_path / "data")
    one, other = (corrupt("--ratio", 0.3, "--seed", 5, dest=dest) for dest in ("one", "other"))
    assert one == other != corrupt("--ratio", 0.3, "--seed", 6, dest="third")


@pytest.mark.slow
def test_a_speaker_who_lost_all_utterances_is_gone_from_all_tables(corrupt, tmp_path):
    make(tmp_path / "data", speakers=3, utts=1)
    labels, _ = corrupt("--kind", "symmetric", "--ratio", 0.34)
    assert len(set(labels.values())) == 2
    for name in ("spk2utt", "spk2gender"):
        assert set(read_table(tmp_path / "new" / name)) == set(labels.values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ratio", "1"], "--ratio 1: a share must be at least 0 and below 1"),
        (["--ratio", "-0.1"], "--ratio -0.1: a share must be at least 0 and below 1"),
        (["--ratio", "nan"], "--ratio nan: a share must be at least 0 and below 1"),
        (["--kind", "openset", "--ratio", "0.1"], "--kind openset: give --outside DIR with openset"),
        (["--outside", "data", "--ratio", "0.1"], "--kind symmetric: give --outside DIR with openset"),
    ],
)
def test_wrong_options_are_one_line(step, tmp_path, words, message):
    make(tmp_path / "data")
    done = step("tools/corrupt_labels.py", *words, tmp_path / "data", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.startswith(f"corrupt_labels.py: error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def renamed(data: Path, name: str, old: str, new: str) -> None:
    (data / name).write_text((data / name).read_text().replace(old, new))


@pytest.mark.slow
def test_data_dirs_that_can_not_be_corrupted_are_refused(step, tmp_path):
    def refused(*words):
        done = step("tools/corrupt_labels.py", "--ratio", 0.4, *words)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    data, lone = make(tmp_path / "data"), make(tmp_path / "lone", speakers=1)
    new = tmp_path / "new"
    assert "lone has 1 speaker; a wrong label needs two or more" in refused(lone, new)
    assert "none is not a data directory" in refused(tmp_path / "none", new)
    assert "is both source and destination" in refused(data, data)
    assert "outside: speaker s0 is in the source as well" in refused(
        "--kind", "openset", "--outside", make(tmp_path / "outside"), data, new
    )
    small = make(tmp_path / "small", utts=1, prefix="x")
    openset = ("--kind", "openset", "--outside", small, data, new)
    assert "--ratio asks to replace 14 utterances, and --outside has only 5" in refused(*openset)
    (small / "fbank.yaml").write_text("num_mel_bins: 40\n")
    assert "small/fbank.yaml: num_mel_bins is 40, but 80 in " in refused(*openset)
    (data / "spk2utt").write_text("s0 s0-u0\n")
    assert "spk2utt" in refused(data, new)
    renamed(data, "utt2spk", "s1", "sp0.9-s0")
    assert "7 utterances are speed copies, first sp0.9-s0-u0" in refused(data, new)
    write_table(data / "utt2spk_true", read_table(data / "utt2spk"))
    assert "its labels are corrupted already" in refused(data, new)
    assert not new.exists()
