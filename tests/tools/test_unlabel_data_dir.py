"""tools/unlabel_data_dir.sh: what is left of a data dir without its labels, and what is warned of."""

from pathlib import Path

import pytest

from sv.io import DataDir, read_table


def make(folder: Path, utts: list[str], speaker: str = "s", **tables: dict[str, str]) -> Path:
    """A data dir of recordings that are not there, one speaker each two."""
    utt2spk = {utt: f"{speaker}{number // 2}" for number, utt in enumerate(utts)}
    wav_scp = {utt: f"/audio/{utt}.wav" for utt in utts}
    DataDir.write(folder, {"wav.scp": wav_scp, "utt2spk": utt2spk, **tables})
    return folder


def test_each_utterance_becomes_a_speaker_and_labels_go(run, tmp_path: Path) -> None:
    source = make(tmp_path / "calls", ["a1", "a2", "b1", "b2"], text={"a1": "one", "a2": "two", "b1": "x", "b2": "y"})
    (source / "spk2gender").write_text("s0 f\ns1 m\n")
    known = make(tmp_path / "train", ["b2", "c1"], "t")
    done = run("tools/unlabel_data_dir.sh", "--exclude", known, source, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert read_table(tmp_path / "new" / "utt2spk") == {"a1": "a1", "a2": "a2", "b1": "b1"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["spk2utt", "utt2spk", "wav.scp"]
    assert "1 utterances of" in done.stderr and "are left out: they or their audio are in" in done.stderr


def test_segments_and_no_utt2spk_are_enough(run, tmp_path: Path) -> None:
    source = tmp_path / "calls"
    DataDir.write(
        source, {"wav.scp": {"r1": "/r1.wav", "r2": "/r2.wav"}, "segments": {"r1-0": "r1 0 2", "r1-1": "r1 3 5"}}
    )
    done = run("tools/unlabel_data_dir.sh", source, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert read_table(tmp_path / "new" / "utt2spk").keys() == {"r1-0", "r1-1"}
    assert read_table(tmp_path / "new" / "wav.scp").keys() == {"r1"}


@pytest.mark.slow
def test_labelled_audio_under_another_name_is_left_out(run, tmp_path: Path) -> None:
    files = {f"r{number}": f"sox /audio/{number}.wav -t wav - |" for number in range(4)}
    segments = {"a": "r0 0 2", "b": "r0 2 4", "c": "r1 0 2", "d": "r2 0 2", "e": "r3 0 2"}
    DataDir.write(tmp_path / "cut", {"wav.scp": files, "segments": segments})
    DataDir.write(tmp_path / "whole", {"wav.scp": {f"new-{name}": file for name, file in files.items()}})
    make(tmp_path / "train", ["x", "y"])
    (tmp_path / "train/wav.scp").write_text(f"x {files['r0']}\ny {files['r1']}\n")
    DataDir.write(
        tmp_path / "train_cut", {"wav.scp": {"q": files["r0"]}, "segments": {"x": "q 2.0 4.0"}, "utt2spk": {"x": "s"}}
    )
    for source, known, left in (
        ("whole", "train", ["new-r2", "new-r3"]),
        ("cut", "train", ["d", "e"]),
        ("whole", "train_cut", ["new-r1", "new-r2", "new-r3"]),
        ("cut", "train_cut", ["a", "c", "d", "e"]),  # the rest of r0 may be another speaker
    ):
        done = run("tools/unlabel_data_dir.sh", "--exclude", tmp_path / known, tmp_path / source, tmp_path / "new")
        assert done.returncode == 0, done.stderr
        assert list(read_table(tmp_path / "new/utt2spk")) == left, (source, known)


@pytest.mark.slow
def test_what_is_shared_with_the_test_set_is_warned_of(run, tmp_path: Path) -> None:
    source = make(tmp_path / "calls", ["a1", "a2", "b1"])
    test = make(tmp_path / "test", ["a2", "d1", "d2", "d3"], "d")
    (test / "wav.scp").write_text("a2 /audio/x.wav\nd1 /audio/a1.wav\nd2 /audio/b1.wav\nd3 /audio/d3.wav\n")
    done = run("tools/unlabel_data_dir.sh", "--apart-from", test, source, tmp_path / "new")
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 2 and "share utterances: 1 (a2)" in warnings[0]
    assert "share recordings: 2 (/audio/a1.wav /audio/b1.wav); tests on" in warnings[1]
    (test / "utt2spk").write_text("a2 d\nd1 s0\nd2 d\nd3 d\n")
    done = run("tools/unlabel_data_dir.sh", "--apart-from", test, source, tmp_path / "new")
    assert "share speakers: 1 (s0)" in done.stderr


@pytest.mark.parametrize(
    ("utts", "words", "told"),
    [
        (["a1"], [], "calls has one utterance; give at least two to cluster"),
        (["a1", "a2"], ["--exclude"], "has no utterance that is not in"),
        ([], [], "calls has no wav.scp; list its recordings: 'utterance file'"),
        (None, [], "calls is not a data dir; give a folder with wav.scp"),
    ],
)
def test_nothing_to_cluster_is_one_line(
    run, tmp_path: Path, utts: list[str] | None, words: list[str], told: str
) -> None:
    source = tmp_path / "calls"
    if utts:
        make(source, utts)
    elif utts == []:
        source.mkdir()
    options = [word for name in words for word in (name, source)]
    done = run("tools/unlabel_data_dir.sh", *options, source, tmp_path / "new")
    lines = [line for line in done.stderr.splitlines() if "are left out" not in line]
    assert done.returncode == 1 and told in lines[0] and len(lines) == 1
    assert not (tmp_path / "new").exists()
