"""A corpus of one's own: folders of speakers or a list, to data dirs that the other steps take."""

import numpy as np
import pytest
import soundfile

from local.prepare_folder import choose_test_speakers, speaker_ids
from sv.data import WavScpSource
from sv.errors import UserError
from sv.io import DataDir, read_table, write_table
from tests.local.noise_files import write_audio


def test_folders_of_speakers(corpus, tmp_path, prepare):
    said = prepare(corpus, tmp_path / "data")
    data = DataDir(tmp_path / "data")
    assert data.utt2spk == {
        "ann/a.wav": "ann",
        "ann/b.wav": "ann",
        "bob/2020/a.wav": "bob",
        "bob/2021/a.wav": "bob",
        "cy/x.wav": "cy",
        "cy/y.wav": "cy",
    }
    assert data.wav_scp["ann/b.wav"] == str(corpus / "ann" / "b.flac")
    assert data.utt2dur["bob/2020/a.wav"] == 0.5
    assert read_table(data.path / "spk2utt")["cy"] == "cy/x.wav cy/y.wav"
    assert "3 speakers, 6 utterances" in said


def test_speakers_to_test_on_and_trials(corpus, tmp_path, prepare):
    write_audio(corpus / "dora" / "single.wav")
    prepare("--test-speakers", 2, "--trials", "true", corpus, tmp_path / "data")
    train, test = (DataDir(tmp_path / "data" / name) for name in ("train", "test"))
    assert len(test.spk2utt) == 2 and "dora" in train.spk2utt
    assert not train.utt2spk.keys() & test.utt2spk.keys() and len(train.utt2spk) + len(test.utt2spk) == 7
    lines = (test.path / "trials" / "O.kaldi").read_text().splitlines()
    assert len(lines) == 2 + 4
    assert not (train.path / "trials").exists()


def test_target_trials_are_of_two_files_and_two_sessions(corpus, tmp_path, prepare):
    (corpus / "cy" / "z.wav").symlink_to("y.wav")
    (corpus / "cy" / "zz.wav").hardlink_to(corpus / "cy" / "y.wav")
    lines = ["ann/a.wav,ann,0,.2,1", "ann/a.wav,ann,.2,.4,2", "ann/b.flac,ann,0,.2,2", "bob/2020/a.wav,bob,,,1"]
    lines += ["bob/2021/a.wav,bob,,,1", "cy/y.wav,cy,,,1", "cy/z.wav,cy,,,2", "cy/zz.wav,cy,,,3"]

    def targets(header, lines):
        (tmp_path / "list.csv").write_text("\n".join([header, *lines]))
        words = ["--ignore-columns", "note", "--csv", tmp_path / "list.csv"]
        said = prepare("--trials", "true", *words, corpus, tmp_path / "data")
        trials = [line.split() for line in (tmp_path / "data" / "trials" / "O.kaldi").read_text().splitlines()]
        return [(a, b) for a, b, label in trials if label == "target"], "target trials are of one, and too easy" in said

    first, second, other = (
        f"ann/{name}" for name in ("a-00000000-00000200", "a-00000200-00000400", "b-00000000-00000200")
    )
    assert targets("path,speaker,start,end,session", lines) == ([(first, other)], False)
    of_bob = ("bob/2020/a.wav", "bob/2021/a.wav")
    assert targets("path,speaker,start,end,note", lines) == ([(first, other), (second, other), of_bob], False)
    assert targets("path,speaker,start,end,session", [*lines[:2], *lines[3:]]) == (
        [(first, second), of_bob, *((f"cy/{a}.wav", f"cy/{b}.wav") for a, b in (("y", "z"), ("y", "zz"), ("z", "zz")))],
        True,
    )


def test_test_speakers_depend_on_seed_and_names_alone():
    utt2spk = {f"s{spk}/{utt}": f"s{spk}" for spk in range(30) for utt in range(2)}
    chosen = choose_test_speakers(utt2spk, 10, 1)
    assert len(chosen) == 10
    assert choose_test_speakers(dict(reversed(utt2spk.items())), 10, 1) == chosen
    assert choose_test_speakers(utt2spk, 10, 2) != chosen
    with pytest.raises(UserError, match="of 30 speakers 30 have two"):
        choose_test_speakers(utt2spk, 29, 1)


def test_names_that_no_table_can_hold_are_mended(tmp_path, prepare):
    for name in ("Ann Lee/take (1).wav", "bob/a.wav", "bob-2/b.wav"):
        write_audio(tmp_path / "corpus" / name)
    prepare(tmp_path / "corpus", tmp_path / "data")
    data = DataDir(tmp_path / "data")
    assert data.utt2spk == {"Ann_Lee/take__1_.wav": "Ann_Lee", "bob/a.wav": "bob", "bob_2/b.wav": "bob_2"}
    assert data.wav_scp["Ann_Lee/take__1_.wav"].endswith("Ann Lee/take (1).wav")


def test_speakers_that_sort_as_their_utterances_keep_their_names():
    assert speaker_ids({"a.b", "b-1", "c d"}) == {"a.b": "a.b", "b-1": "b-1", "c d": "c_d"}
    assert speaker_ids({"a", "a.b"}) == {"a": "a", "a.b": "a_b"}
    with pytest.raises(UserError, match="'a b' and 'a_b' would both be a_b"):
        speaker_ids({"a b", "a_b"})


def test_parts_of_files_of_any_rate_end_with_their_file(tmp_path, prepare):
    rate, starts = 48000, [0.123456, 0.377777, 0.250051, 0.400079]
    for number, _ in enumerate(starts):
        write_audio(tmp_path / f"{number}.wav", 1 + (number + 0.5) / rate * 7, rate)
    lines = [f"{number}.wav,s{number},{start}," for number, start in enumerate(starts)]
    (tmp_path / "list.csv").write_text("\n".join(["path,speaker,start,end", *lines]))
    prepare("--csv", tmp_path / "list.csv", "--sample-rate", rate, tmp_path / "data")
    source = WavScpSource(tmp_path / "data", sample_rate=rate)
    whole = [source.read(utt, 0, int(samples)) for utt, samples in enumerate(source.num_samples)]
    files = [soundfile.read(tmp_path / f"{number}.wav", dtype="float32")[0] for number, _ in enumerate(starts)]
    for part, samples, start in zip(whole, files, starts, strict=True):
        np.testing.assert_array_equal(part, samples[int(start * rate) :][: len(part)])
        assert abs(len(samples) - start * rate - len(part)) < 1


def test_segments_of_an_earlier_run_go_away(corpus, tmp_path, prepare):
    (tmp_path / "list.csv").write_text("calls/ann/a.wav,ann,0.1,0.4\n")
    prepare("--csv", tmp_path / "list.csv", tmp_path / "data")
    assert (tmp_path / "data" / "segments").is_file()
    prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data" / "segments").exists()


def test_a_corpus_that_has_grown_is_prepared_again(corpus, tmp_path, prepare):
    prepare(corpus, tmp_path / "data")
    (tmp_path / "fbank.ark").write_bytes(b"ark")
    utts = DataDir(tmp_path / "data").utts
    write_table(tmp_path / "data" / "feats.scp", dict.fromkeys(utts, f"{tmp_path}/fbank.ark:0"))
    write_audio(corpus / "ann" / "extra.wav")
    said = prepare(corpus, tmp_path / "data")
    assert "feats.scp moved to .backup; stage 2 makes features anew" in said and "3 speakers, 7 utterances" in said
    assert (tmp_path / "data" / ".backup" / "feats.scp").exists()


def test_a_fault_that_all_files_have_is_told_once(corpus, tmp_path, prepare):
    for number in range(26):
        write_audio(corpus / "ann" / f"phone{number}.wav", rate=8000)
    said = prepare(corpus, tmp_path / "data", fails=True)
    assert said.count("8000 Hz, 16000 Hz expected") == 1 and "26 of 32 utterances cannot be used, the first: " in said
    said = prepare("--leave-out-bad", "true", corpus, tmp_path / "data")
    assert "if all files have it (26 such utterances)" in said and said.count("8000 Hz") == 1


def test_bad_files_are_all_told_and_may_be_left_out(corpus, tmp_path, prepare):
    write_audio(corpus / "ann" / "stereo.wav", channels=2)
    write_audio(corpus / "ann" / "phone.wav", rate=8000)
    (corpus / "bob" / "text.wav").write_text("no audio")
    write_audio(corpus / "cy" / "short.wav", seconds=0.01)
    said = prepare(corpus, tmp_path / "data", fails=True)
    for message in ("2 channels, 1 expected", "8000 Hz, 16000 Hz expected", "text.wav: cannot be read", "0.010 s of"):
        assert message in said
    assert "4 of 10 utterances cannot be used" in said
    assert "or give --sample-rate 8000 if all files have it" in said
    (tmp_path / "system.yaml").write_text("{}")
    said = prepare("--config", tmp_path / "system.yaml", corpus, tmp_path / "data", fails=True)
    assert "or give --set dataset_args.fbank_args.sample_rate=8000 if all files have it" in said
    assert not (tmp_path / "data").exists()
    assert "4 of 10 utterances are left out" in prepare("--leave-out-bad", "true", corpus, tmp_path / "data")
    assert len(read_table(tmp_path / "data" / "utt2spk")) == 6


def test_a_recording_whole_under_two_speakers_is_of_neither(corpus, tmp_path, prepare):
    lines = ["path,speaker,start,end", "ann/a.wav,ann,,", "ann/a.wav,bob,0.1,0.2", "ann/b.flac,ann,0.1,0.2"]
    (tmp_path / "list.csv").write_text(
        "\n".join([*lines, "ann/b.flac,bob,0.1,0.2", "ann/b.flac,cy,0.1,0.3", "cy/y.wav,cy,,"])
    )
    said = prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data", fails=True)
    assert "list.csv:2: " in said and "a.wav is of ann here, and of bob too" in said
    assert "4 of 6 utterances cannot be used" in said
    prepare("--leave-out-bad", "true", "--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    assert set(read_table(tmp_path / "data" / "utt2spk").values()) == {"cy"}
    (corpus / "dora").symlink_to(corpus / "ann")
    said = prepare(corpus, tmp_path / "linked", fails=True)
    assert "4 of 8 utterances cannot be used" in said and "is of ann here, and of dora too" in said


def test_a_speaker_is_not_taken_for_a_speed_copy(corpus, tmp_path, prepare):
    (corpus / "ann").rename(corpus / "sp2-ann")
    prepare(corpus, tmp_path / "data")
    assert read_table(tmp_path / "data" / "utt2spk")["sp2_ann/a.wav"] == "sp2_ann"
    assert speaker_ids({"sp0.9-a", "sp1", "spx-1"}) == {"sp0.9-a": "sp0.9_a", "sp1": "sp1", "spx-1": "spx-1"}
    with pytest.raises(UserError, match="would both be sp1_a"):
        speaker_ids({"sp1-a", "sp1_a"})


def test_usage_and_error_on_the_command_line(step, tmp_path):
    result = step("local/prepare_folder.py", "data")
    assert result.returncode == 2 and "give the corpus' folder" in result.stderr
    result = step("local/prepare_folder.py", tmp_path / "none", "data")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("prepare_folder.py: error: ")


@pytest.mark.slow
def test_real_speech(corpora, tmp_path, prepare):
    said = prepare("--test-speakers", 40, "--trials", "true", corpora / "speechocean762" / "WAVE", tmp_path)
    total = len(list((corpora / "speechocean762" / "WAVE").iterdir()))
    assert f"train: {total - 40} speakers" in said and "test: 40 speakers" in said
