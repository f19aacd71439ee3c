import os

import pytest

from local.prepare_voxceleb import main as prepare
from sv.errors import UserError
from tests.local.voxceleb_tree import DEV, TEST, TRAIN, touch

LIST_O = [f"1 {TEST[0]}.wav {TEST[1]}.wav", f"0 {TEST[0]}.wav {TEST[2]}.wav"]
LIST_E = [f"1 {DEV[0]}.wav {DEV[1]}.wav", f"0 {DEV[0]}.wav {TEST[2]}.wav"]


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def vox(tmp_path):
    """VoxCeleb1 (test) and VoxCeleb2 (converted), and the list O."""
    touch(tmp_path / "vox1" / "wav", TEST, "wav")
    touch(tmp_path / "vox2" / "dev" / "flac", TRAIN, "flac")
    write(tmp_path / "vox1" / "veri_test2.txt", LIST_O)
    return tmp_path


@pytest.fixture
def call(monkeypatch, vox):
    def call_main(*options):
        words = ["prepare_voxceleb.py", "--vox1", vox / "vox1", "--vox2", vox / "vox2", vox / "data", *options]
        monkeypatch.setattr("sys.argv", [str(word) for word in words])
        prepare()

    return call_main


def refused(call, vox, message, *options):
    with pytest.raises(UserError, match=message):
        call(*options)
    assert not (vox / "data").exists()


def test_tables_and_trials(vox, call, run):
    call()
    data = vox / "data"
    assert (data / "vox1" / "wav.scp").read_text() == "".join(f"{u}.wav {vox}/vox1/wav/{u}.wav\n" for u in TEST)
    assert (data / "vox2_dev" / "wav.scp").read_text().splitlines()[
        0
    ] == f"{TRAIN[0]}.wav {vox}/vox2/dev/flac/{TRAIN[0]}.flac"
    assert (data / "vox1" / "utt2spk").read_text().splitlines()[0] == f"{TEST[0]}.wav id10270"
    assert (data / "vox1" / "spk2utt").read_text().splitlines()[0] == f"id10270 {TEST[0]}.wav {TEST[1]}.wav"
    trials = (data / "vox1" / "trials" / "vox1_O_cleaned.kaldi").read_text().splitlines()
    assert trials == [f"{TEST[0]}.wav {TEST[1]}.wav target", f"{TEST[0]}.wav {TEST[2]}.wav nontarget"]
    for name in ("vox1", "vox2_dev"):
        checked = run("tools/validate_data_dir.sh", "--no-feats", data / name)
        assert checked.returncode == 0, checked.stderr


def test_converted_files_come_before_m4a_and_other_things_are_passed_over(vox, call):
    touch(vox / "vox2" / "dev" / "aac", TRAIN, "m4a")
    touch(vox / "vox2" / "dev" / "wav", TRAIN[:1], "wav")
    touch(vox / "vox2" / "dev" / "txt", TRAIN, "txt")
    touch(vox / "vox2" / "test" / "aac", ["id00017/hhhhhhhhhhh/00001"], "m4a")
    (vox / "vox2" / "dev" / "flac" / "id00012" / "fffffffffff" / ".00002.flac.1.tmp").touch()
    call()
    lines = (vox / "data" / "vox2_dev" / "wav.scp").read_text().splitlines()
    assert [line.rpartition(".")[2] for line in lines] == ["wav", "flac"]


def test_voxblink2_beside_voxceleb2_is_trained_on_too(vox, call, run):
    touch(vox / "vox2" / "voxblink2", ["id000012/hhhhhhhhhhh/00000", "id104999/iiiiiiiiiii/00007"], "wav")
    call()
    spk2utt = (vox / "data" / "vox2_dev" / "spk2utt").read_text().splitlines()
    assert [line.split()[0] for line in spk2utt] == ["id000012", "id00012", "id00015", "id104999"]
    assert run("tools/validate_data_dir.sh", "--no-feats", vox / "data" / "vox2_dev").returncode == 0


def test_a_listing_instead_of_a_search(vox, call):
    write(vox / "files", [f"./dev/flac/{utt}.flac" for utt in TRAIN] + ["./test/aac/id00017/x/00001.m4a", "./README"])
    call("--vox2-files", vox / "files")
    by_listing = (vox / "data" / "vox2_dev" / "utt2spk").read_text()
    call()
    assert (vox / "data" / "vox2_dev" / "utt2spk").read_text() == by_listing


def test_lists_of_missing_speakers_are_left_out_unless_named(vox, call, caplog):
    write(vox / "list_test_all2.txt", LIST_E)  # beside VoxCeleb1
    refused(
        call,
        vox,
        r"list_test_all2.txt: 1 of its speakers \(the first id10001\) are not in the corpus",
        "--trials",
        "O E",
    )
    call("--lists", "")
    assert os.listdir(vox / "data" / "vox1" / "trials") == ["vox1_O_cleaned.kaldi"]
    assert "vox1_E_cleaned.kaldi is left out: 1 of its speakers" in caplog.text
    touch(vox / "vox1" / "dev" / "wav", DEV, "wav")
    call("--trials", "O,E")
    assert sorted(os.listdir(vox / "data" / "vox1" / "trials")) == ["vox1_E_cleaned.kaldi", "vox1_O_cleaned.kaldi"]


def test_a_second_run_leaves_the_files_alone(vox, call):
    call()
    files = [path for path in (vox / "data").rglob("[!.]*") if path.is_file()]
    times = [path.stat().st_mtime_ns for path in files]
    call()
    assert [path.stat().st_mtime_ns for path in files] == times


def test_missing_corpus(vox, call):
    os.rename(vox / "vox2", vox / "elsewhere")
    refused(call, vox, r"vox2 does not exist or is not a folder; give the folder")


def test_empty_corpus(vox, call):
    os.rename(vox / "vox2" / "dev" / "flac", vox / "elsewhere")
    refused(call, vox, r"vox2 and the folders below it hold no folders named like speakers")
    (vox / "vox2" / "dev" / "flac" / "id00012").mkdir(parents=True)
    refused(call, vox, r"vox2 has folders of speakers but no audio in them")


def test_m4a_that_was_not_converted(vox, call):
    touch(vox / "vox2" / "dev" / "aac", ["id00012/fffffffffff/00007"], "m4a")
    refused(
        call,
        vox,
        r"1 of 3 utterances are there as m4a only, the first .*00007.m4a; convert them: local/convert_audio.sh",
    )


def test_speakers_on_both_sides(vox, call):
    touch(vox / "vox2" / "dev" / "flac", TEST[:1], "flac")
    refused(call, vox, r"1 speakers are in --vox2 and in --vox1, the first id10270")


def test_no_list(vox, call):
    (vox / "vox1" / "veri_test2.txt").unlink()
    refused(call, vox, r"no trial list can be made; get it with local/download_voxceleb.py")
    refused(call, vox, r"--lists /nowhere is not a folder", "--lists", "/nowhere")
    refused(call, vox, r"veri_test2.txt is not there", "--trials", "O")
    refused(call, vox, r"known lists are O, E, H", "--trials", "X")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{TEST[0]}.wav {TEST[1]}.wav target", r"veri_test2.txt:3: expected '1\|0 utt1 utt2', found 'id10270"),
        (f"1 {TEST[0]}.wav {TEST[2]}.wav", r"veri_test2.txt:3: label 1 for speakers id10270 and id10271"),
        (
            f"0 {TEST[0]}.wav id10271/ccccccccccc/00009.wav",
            r"veri_test2.txt:3: id10271/ccccccccccc/00009.wav is not in",
        ),
    ],
)
def test_wrong_lines_of_a_list(vox, call, line, message):
    write(vox / "vox1" / "veri_test2.txt", [*LIST_O, line])
    refused(call, vox, message)


@pytest.mark.parametrize("kept", LIST_O)
def test_a_list_of_one_kind_of_trials(vox, call, kept):
    write(vox / "vox1" / "veri_test2.txt", [kept])
    refused(call, vox, r"1 target and 0 non-target trials|0 target and 1 non-target trials")


def test_as_a_command_one_line_and_status_1(vox, run):
    result = run("local/prepare_voxceleb.py", "--vox1", vox / "vox1", "--vox2", vox / "nowhere", vox / "data")
    assert result.returncode == 1
    assert result.stderr.startswith("prepare_voxceleb.py: error: ") and result.stderr.count("\n") == 1


def test_files_converted_into_another_folder_stand_beside_the_others(vox, call):
    extra = ["id00020/hhhhhhhhhhh/00001"]
    touch(vox / "vox2" / "dev" / "aac", extra, "m4a")
    touch(vox / "converted" / "dev" / "flac", extra, "flac")
    call("--vox2", vox / "converted")
    lines = (vox / "data" / "vox2_dev" / "wav.scp").read_text().splitlines()
    assert lines[-1] == f"{extra[0]}.wav {vox}/converted/dev/flac/{extra[0]}.flac"
    assert len(lines) == len(TRAIN) + 1
