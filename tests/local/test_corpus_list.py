"""The list of one's own corpus: parts of files, names of columns, what it says of speakers, and bad lists."""

import numpy as np
import pytest
import soundfile

from sv.audio.utterances import Utterances
from sv.io import DataDir, read_table
from tests.local.noise_files import RATE


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


def test_between_tabs_quotes_are_characters_like_others(corpus, tmp_path, prepare):
    (tmp_path / "list.tsv").write_text(
        'sentence\tpath\tclient_id\n"Yes\tann/a.wav\tann\nx\u2028\t"ann/b.flac"\t"a"n\nNo"\tbob/2020/a.wav\tbob\n'
    )
    prepare("--ignore-columns", "sentence", "--csv", tmp_path / "list.tsv", corpus, tmp_path / "data")
    spoken = {"_a_n/ann/b.wav": "_a_n", "ann/a.wav": "ann", "bob/2020/a.wav": "bob"}
    assert read_table(tmp_path / "data" / "utt2spk") == spoken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.csv lists no file"),
        ("path,speaker\n", "list.csv lists no file"),
        ("calls/ann/a.wav\n", "list.csv:1: no speaker"),
        ("path,start\ncalls/ann/a.wav,1\n", "list.csv:1: the header has no speaker"),
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
        ('calls/ann/a.wav,"ann\ncalls/ann/b.flac,ann\n', "list.csv:1: its quotes are wrong (unexpected end of data)"),
        ('calls/ann/a.wav,"a\nnn"\n', "list.csv:1: its quotes are wrong (unexpected end of data)"),
        ('calls/ann/a.wav;ann\ncalls/ann/b.flac;"a"nn\n', "list.csv:2: its quotes are wrong (';' expected after '\"')"),
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
    assert "language is known for 5 of 6: utt2lang is not written" in said and not (data / "utt2lang").exists()
    prepare(corpus, data)
    assert not (data / "spk2gender").exists()
