"""A folder with a folder for each speaker: links, roots and names that are not one."""

import os

from sv.io import read_table
from tests.local.noise_files import write_audio


def test_a_folder_that_links_lead_back_to_is_read_once(corpus, tmp_path, prepare):
    (corpus / "ann" / "loop").symlink_to(corpus)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "ann").symlink_to(corpus / "ann")
    prepare(tmp_path / "linked", tmp_path / "data")
    assert "ann/a.wav" in read_table(tmp_path / "data" / "utt2spk")


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
