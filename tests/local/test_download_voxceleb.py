"""VoxCeleb from a server or a folder, wrong calls, and the table of archives."""

import hashlib
import re
import shutil

import pytest
import yaml

from local import download_voxceleb
from local.download import SPARE_BYTES
from local.download_voxceleb import check_disk, find_source
from sv.errors import UserError
from tests.archives import make_zip


def digests(files):
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


@pytest.fixture
def vox(tmp_path, server):
    """Two small archives, one of them in two parts, and a list, on a server and in a folder; (table, folder)."""
    whole = make_zip(tmp_path / "zip", {"wav/id10001/v/00001.wav": b"dev"}).read_bytes()
    vox1 = {"v1_partaa": whole[:40], "v1_partab": whole[40:]}
    vox2 = {"v2.zip": make_zip(tmp_path / "zip2", {"dev/aac/id00012/v/00001.m4a": b"m4a"}).read_bytes()}
    lists = {"veri_test2.txt": b"1 a b\n"}
    (tmp_path / "have").mkdir()
    for name, content in (vox1 | vox2 | lists).items():
        server.files[f"/{name}"] = content
        (tmp_path / "have" / name).write_bytes(content)
    keyed = {"url": "http://127.0.0.1:9/{file}?key={key}", "key": "SV_TEST_KEY", "terms": "http://form"}
    one = {"folder": "vox", "corpus": "voxceleb1", "files": digests(vox1), "whole": digests({"v1.zip": whole})}
    two = {"folder": "vox", "corpus": "voxceleb2", "files": digests(vox2)}
    table = {
        "sources": {"keyed": keyed},
        "archives": {"vox1_dev": one, "vox2_dev": two},
        "lists": {"url": "http://127.0.0.1:9/{file}", "corpus": "voxceleb1", "files": digests(lists)},
    }
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table))
    return tmp_path / "table.yaml", tmp_path / "have"


@pytest.fixture
def download(vox, tmp_path, monkeypatch):
    """Run download_voxceleb.py within this process."""

    def call(*options):
        words = ["download_voxceleb.py", "--table", vox[0], *options, tmp_path / "out"]
        monkeypatch.setattr("sys.argv", [str(word) for word in words])
        download_voxceleb.main()

    return call


@pytest.mark.parametrize("place", ["server", "parts", "whole"])
def test_voxceleb_from_a_server_or_a_folder(vox, server, tmp_path, download, place):
    folder, out = vox[1], tmp_path / "out"
    if place == "whole":
        (folder / "v1.zip").write_bytes((tmp_path / "zip").read_bytes())
        (folder / "v1_partaa").unlink()
    options = ["--keep", "false", "--source", server.url if place == "server" else folder]
    download(*options)
    assert (out / "voxceleb1" / "wav" / "id10001" / "v" / "00001.wav").read_bytes() == b"dev"
    assert (out / "voxceleb2" / "dev" / "aac" / "id00012" / "v" / "00001.m4a").read_bytes() == b"m4a"
    assert (out / "voxceleb1" / "veri_test2.txt").read_bytes() == b"1 a b\n"
    assert not any((out / "archives").glob("*")) and (folder / "v1_partab").is_file()
    asked = len(server.log)
    download(*options)
    assert len(server.log) == asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--source keyed", "needs an access key (http://form): export SV_TEST_KEY=..."),
        ("--source nowhere", "--source 'nowhere': known are keyed, an address, or a folder"),
        ("--parts vox3", "--parts vox3: known are lists, vox1_dev, vox2_dev"),
        ("--table /nowhere", "--table /nowhere does not exist"),
        ("--source have --parts vox1_dev", "have/v1_partab does not exist; copy it there"),
    ],
)
def test_voxceleb_wrong_calls(vox, tmp_path, download, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "have" / "v1_partab").unlink()
    with pytest.raises(UserError, match=re.escape(message)):
        download(*options.split())
    assert not (tmp_path / "out").exists()


def test_voxceleb_all_parts_together_have_to_fit(vox, server, tmp_path, monkeypatch):
    needed = sum(len(server.files[f"/{name}"]) for name in ("v1_partaa", "v1_partab", "v2.zip")) - 10
    (tmp_path / "out" / "archives").mkdir(parents=True)
    (tmp_path / "out" / "archives" / "v1_partab.part").write_bytes(server.files["/v1_partab"][:10])
    archives = yaml.safe_load(vox[0].read_text())["archives"]

    def check(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free + SPARE_BYTES))
        check_disk(archives, find_source(server.url, {"sources": {}}), tmp_path / "out")

    check(needed)
    with pytest.raises(UserError, match=r"out: about .* are needed, .* are free; free some"):
        check(needed - 1)
    server.tells_length = False
    check(0)
    assert not server.log  # nothing was fetched


@pytest.mark.slow
def test_voxceleb_refused_by_the_server(vox, server, tmp_path, run):
    server.status["/v1_partaa"] = 401
    result = run("local/download_voxceleb.py", "--table", vox[0], "--source", server.url, tmp_path / "out")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert re.search(r"error: .*v1_partaa: HTTP Error 401.* access key .* --vox1 DIR --vox2 DIR", result.stderr)


def test_the_table_in_the_repository_is_whole(root):
    table = yaml.safe_load((root / "local" / "voxceleb_parts.yaml").read_text())
    files = [archive["files"] | archive.get("whole", {}) for archive in table["archives"].values()]
    md5s = [md5 for names in (*files, table["lists"]["files"]) for md5 in names.values()]
    assert len(md5s) == (4 + 1) + 1 + (8 + 2) + 3 and all(len(md5) == 32 and int(md5, 16) for md5 in md5s)
