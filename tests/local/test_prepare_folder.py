"""A corpus of one's own: folders of speakers or a list, to data dirs that the other steps take."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from local.prepare_folder import choose_test_speakers, main, speaker_ids
from sv.audio.utterances import Utterances
from sv.data import WavScpSource
from sv.errors import UserError
from sv.io import DataDir, read_table, write_table

RATE = 16000


def write_audio(path: Path, seconds: float = 0.5, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(str(path))).normal(0, 0.1, (int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def corpus(tmp_path):
    """Three speakers of two utterances, in three depths and formats."""
    root = tmp_path / "calls"
    for name in ("ann/a.wav", "ann/b.flac", "bob/2020/a.wav", "bob/2021/a.wav", "cy/x.ogg", "cy/y.wav"):
        write_audio(root / name)
    (root / "ann" / "notes.txt").touch()
    write_audio(root / "bob" / ".hidden" / "z.wav")
    return root


@pytest.fixture
def prepare(monkeypatch, caplog):
    """Call the script within this process; what it says on stderr, or in its error."""

    def prepare_corpus(*args, fails=False):
        caplog.clear()
        monkeypatch.setattr(sys, "argv", ["prepare_folder.py", *map(str, args)])
        with caplog.at_level("INFO", "sv"):
            if not fails:
                main()
                return caplog.text
            with pytest.raises(UserError) as error:
                main()
        return f"{caplog.text}\n{error.value}"

    return prepare_corpus


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


def test_a_list_with_parts_of_files(corpus, tmp_path, prepare):
    (tmp_path / "list.csv").write_text(
        "speaker;path;end;note;start\ndave;calls/ann/a.wav;0.2;;0.05\nann;calls/ann/a.wav;0.49;x;.25\n"
        "ann;calls/ann/b.flac;;;\n"
    )
    prepare("--ignore-columns", "note", "--csv", tmp_path / "list.csv", tmp_path / "data")
    data = DataDir(tmp_path / "data")
    assert data.segments == {
        "ann/calls/ann/a-00000250-00000490": ("calls/ann/a.wav", 0.25, 0.49),
        "ann/calls/ann/b.wav": ("calls/ann/b.wav", 0.0, 0.5),
        "dave/calls/ann/a-00000050-00000200": ("calls/ann/a.wav", 0.05, 0.2),
    }
    assert set(data.wav_scp) == {"calls/ann/a.wav", "calls/ann/b.wav"}
    whole, _ = soundfile.read(corpus / "ann" / "a.wav", dtype="float32")
    part = Utterances(data, RATE).read("dave/calls/ann/a-00000050-00000200")
    np.testing.assert_array_equal(part, whole[800:3200])
    assert data.utt2dur["dave/calls/ann/a-00000050-00000200"] == 0.15


def test_a_list_without_a_first_line_of_names(corpus, tmp_path, prepare, monkeypatch):
    (tmp_path / "list.csv").write_text("ann/a.wav,ann\nbob/2020/a.wav,bob\n")
    prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    assert read_table(tmp_path / "data" / "utt2spk") == {"ann/a.wav": "ann", "bob/2020/a.wav": "bob"}
    (tmp_path / "list.csv").write_text(f"{corpus}/ann/a.wav\tann\n{corpus}/bob/2020/a.wav\tbob\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "list.csv").rename(tmp_path / "elsewhere" / "list.csv")
    monkeypatch.chdir(tmp_path)
    prepare("--csv", "elsewhere/list.csv", "again")
    assert read_table(tmp_path / "again" / "utt2spk") == {"ann/a.wav": "ann", "bob/2020/a.wav": "bob"}


def test_speakers_to_test_on_and_trials(corpus, tmp_path, prepare):
    write_audio(corpus / "dora" / "single.wav")
    prepare("--test-speakers", 2, "--trials", "true", corpus, tmp_path / "data")
    train, test = (DataDir(tmp_path / "data" / name) for name in ("train", "test"))
    assert len(test.spk2utt) == 2 and "dora" in train.spk2utt
    assert not train.utt2spk.keys() & test.utt2spk.keys() and len(train.utt2spk) + len(test.utt2spk) == 7
    lines = (test.path / "trials" / "O.kaldi").read_text().splitlines()
    assert len(lines) == 2 + 4
    assert not (train.path / "trials").exists()


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


def test_a_folder_that_links_lead_back_to_is_read_once(corpus, tmp_path, prepare):
    (corpus / "ann" / "loop").symlink_to(corpus)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "ann").symlink_to(corpus / "ann")
    prepare(tmp_path / "linked", tmp_path / "data")
    assert "ann/a.wav" in read_table(tmp_path / "data" / "utt2spk")


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.csv lists no file"),
        ("path,speaker\n", "list.csv lists no file"),
        ("calls/ann/a.wav\n", "list.csv:1: no speaker"),
        ("path,start\ncalls/ann/a.wav,1\n", "list.csv:1: a header without speaker"),
        (
            "path,speaker,stop_tim\n",
            "list.csv:1: unknown column 'stop_tim'; did you mean 'stop_time'? known: path, speaker, start",
        ),
        ("path,speaker,text\n", "rename it, or give --ignore-columns text"),
        ("path,talker\n", "list.csv:1: unknown column 'talker'"),
        ("path,speaker,begin,start\n", "list.csv:1: columns begin and start are both start; keep one"),
        ("path,speaker,onset,offset\n", "list.csv:1: columns onset and offset are both start; keep one"),
        ("path,speaker,\ncalls/ann/a.wav,ann,x\n", "list.csv:2: more fields than columns (path, speaker)"),
        (
            "path,speaker,start,end,duration\ncalls/ann/a.wav,ann,0,.4,.2\n",
            "start 0, end 0.4 and duration 0.2 disagree",
        ),
        ("path,speaker,duration\ncalls/ann/a.wav,ann,1.2\n", "list.csv:2: the file has 0.50 s, the list says 1.20 s"),
        ("path,speaker,sex\ncalls/ann/a.wav,ann,x\n", "list.csv:2: sex is 'x'; write m or f, or nothing"),
        ("path,speaker,age\ncalls/ann/a.wav,ann,teens\n", "list.csv:2: age is 'teens'; write whole years"),
        ("path,speaker,sex\ncalls/ann/a.wav,ann,f\ncalls/ann/b.flac,ann,m\n", "list.csv:3: sex of ann is m, but f at"),
        ("path,speaker\ncalls/ann/a.wav,ann\ncalls/ann/a.wav,bob\n", "is of ann here, and of bob too"),
        ("path,speaker\ncalls/ann/a.wav,ann,0,1\n", "list.csv:2: more fields than columns (path, speaker)"),
        ("path,speaker\n,ann\n", "list.csv:2: no path"),
        ("calls/ann/a.wav,ann,x,2\n", "list.csv:1: start is 'x'"),
        ("calls/ann/a.wav,ann,2,1\n", "list.csv:1: start 2 and end 1; the end must come after"),
        ("calls/ann/a.wav,ann,0,9\n", "list.csv:1: the file ends at 0.50 s, the utterance at 9.00 s"),
        ("calls/ann/a.wav,ann,0.5\n", "list.csv:1: 0.000 s of audio"),
        ("calls/ann/none.wav,ann\n", "list.csv:1: "),
        ("calls/ann/a.wav,ann\ncalls/ann/a.wav,ann\n", "would both be utterance ann/calls/ann/a.wav"),
        (b"calls/\xff.wav,ann\n", "list.csv: not UTF-8"),
    ],
)
def test_bad_lists_get_one_line_and_write_nothing(corpus, tmp_path, prepare, text, message):
    (tmp_path / "list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = prepare("--csv", tmp_path / "list.csv", tmp_path / "data", fails=True)
    assert message in said.splitlines()[-1]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("header", "times"),
    [
        ("path,speaker,start,stop", "0.1,0.4"),
        ("wav,spk_id,offset,duration", "0.1,0.3"),
        ("Audio Path,Client-ID,start_time,end_time", "0.1,0.4"),
        ("file,spk,begin,end,duration", "0.1,0.4,0.3"),
        ("filename,speaker_id,duration,stop", "0.3,0.4"),
    ],
)
def test_columns_are_known_by_their_common_names(corpus, tmp_path, prepare, header, times):
    (tmp_path / "list.csv").write_text(f"{header}\nann/a.wav,ann,{times}\n")
    prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    assert DataDir(tmp_path / "data").segments == {"ann/a-00000100-00000400": ("ann/a.wav", 0.1, 0.4)}


def test_times_of_speechbrain_are_samples(corpus, tmp_path, prepare):
    """In its lists of VoxCeleb, start and stop count samples, and duration is that of the whole file."""
    lines = ["ID,duration,wav,start,stop,spk_id", f"x,0.5,{corpus}/ann/a.wav,1600,6400,ann"]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    said = prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    assert DataDir(tmp_path / "data").segments == {"ann/a-00000100-00000400": ("ann/a.wav", 0.1, 0.4)}
    assert "start and stop are samples at 16000 Hz" in said


def test_a_duration_without_times_is_that_of_the_file(corpus, tmp_path, prepare):
    (tmp_path / "list.csv").write_text("path,speaker,duration\nann/a.wav,ann,0.5\n")
    prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    assert DataDir(tmp_path / "data").utt2dur == {"ann/a.wav": 0.5}


def test_what_a_list_says_of_all_becomes_tables(corpus, tmp_path, prepare):
    lines = [
        "path,speaker,gender,age,session,lang",
        "ann/a.wav,ann,Female,31,s 1,de",
        "ann/b.flac,ann,,,s2,",
        "cy/x.ogg,cy,m,40,s1,en",
        "cy/y.wav,cy,m,40,s1,en",
        "bob/2020/a.wav,bob,m,29,s1,en",
        "bob/2021/a.wav,bob,m,29,s1,en",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    said = prepare("--csv", tmp_path / "list.csv", corpus, tmp_path / "data")
    data = tmp_path / "data"
    assert read_table(data / "spk2gender") == {"ann": "f", "bob": "m", "cy": "m"}
    assert read_table(data / "spk2age") == {"ann": "31", "bob": "29", "cy": "40"}
    assert read_table(data / "utt2session")["ann/a.wav"] == "s_1"
    assert "language is known of 5 of 6: utt2lang is not written" in said and not (data / "utt2lang").exists()
    prepare(corpus, data)
    assert not (data / "spk2gender").exists()


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


def test_every_file_that_is_not_taken_is_told_by_ending(corpus, tmp_path, prepare):
    soundfile.write(corpus / "ann" / "c.caf", np.zeros(RATE), RATE, format="CAF")
    soundfile.write(corpus / "ann" / "d.nist", np.zeros(RATE), RATE, format="NIST")
    soundfile.write(corpus / "ann" / "e.wv9", np.zeros(RATE), RATE, format="NIST")
    soundfile.write(corpus / "ann" / "f", np.zeros(RATE), RATE, format="WAV")
    (corpus / "dora").mkdir()
    for name in ("a.m4a", "b.m4a", "notes.TXT", "c"):
        (corpus / "dora" / name).write_bytes(b"\xff\xfen\0o\0")
    said = prepare(corpus, tmp_path / "data")
    assert {"ann/c.wav", "ann/d.wav", "ann/e.wav", "ann/f.wav"} <= read_table(tmp_path / "data" / "utt2spk").keys()
    assert "5 files are not audio that can be read, and are not taken: 2 .txt, 2 .m4a, 1 without ending" in said
    assert "convert what is audio first (local/convert_audio.sh" in said
    assert "1 folders have no audio that can be read: dora" in said


def test_a_root_one_level_too_high_is_told(corpus, tmp_path, prepare):
    (tmp_path / "root").mkdir()
    corpus.rename(tmp_path / "root" / "train")
    write_audio(tmp_path / "root" / "Test" / "eve" / "a.wav")
    said = prepare(tmp_path / "root", tmp_path / "data", fails=True)
    assert (
        f"Test and train would be speakers; give the folder that holds a folder for each speaker, such as {tmp_path}"
        in said
    )
    prepare(tmp_path / "root" / "train", tmp_path / "data")


def test_a_speaker_is_not_taken_for_a_speed_copy(corpus, tmp_path, prepare):
    (corpus / "ann").rename(corpus / "sp2-ann")
    prepare(corpus, tmp_path / "data")
    assert read_table(tmp_path / "data" / "utt2spk")["sp2_ann/a.wav"] == "sp2_ann"
    assert speaker_ids({"sp0.9-a", "sp1", "spx-1"}) == {"sp0.9-a": "sp0.9_a", "sp1": "sp1", "spx-1": "spx-1"}
    with pytest.raises(UserError, match="would both be sp1_a"):
        speaker_ids({"sp1-a", "sp1_a"})


def test_a_name_that_is_not_utf8_is_told(corpus, tmp_path, prepare):
    speaker = next(path for path in corpus.iterdir() if path.is_dir())
    write_audio(speaker / "x.wav").rename(os.fsdecode(bytes(speaker) + b"/caf\xe9.wav"))
    assert "bytes that are not UTF-8; rename it" in prepare(corpus, tmp_path / "data", fails=True)


def test_folders_without_audio_say_what_is_expected(tmp_path, prepare):
    assert "is not a folder" in prepare(tmp_path / "none", tmp_path / "data", fails=True)
    (tmp_path / "empty").mkdir()
    assert "holds no <speaker>/<file> that is audio" in prepare(tmp_path / "empty", tmp_path / "data", fails=True)
    (tmp_path / "m4a" / "ann").mkdir(parents=True)
    (tmp_path / "m4a" / "ann" / "a.m4a").touch()
    (tmp_path / "m4a" / "notes.txt").touch()
    told = f"{tmp_path}/m4a: 1 .m4a, the first "
    said = prepare(tmp_path / "m4a", tmp_path / "data", fails=True)
    assert told in said and "must be converted: local/convert_audio.sh" in said
    write_audio(tmp_path / "flat" / "a.wav")
    said = prepare(tmp_path / "flat", tmp_path / "data", fails=True)
    assert f"flat: 1 audio files, such as {tmp_path}/flat/a.wav, are in no speaker's folder; make a folder for" in said


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
