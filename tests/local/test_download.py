import errno
import hashlib
import os
import shutil
import socket
import stat
import tarfile
import zipfile

import pytest

from local.download import Remote, bring, fetch, untar, unzip
from sv.errors import UserError
from tests.archives import CONTENT, make_tar, make_zip

MD5 = hashlib.md5(CONTENT).hexdigest()


def get(server, path, md5=MD5, **options):
    fetch(Remote(f"{server.url}/f", md5, **options), path, tries=3, pause_s=0)


def test_a_file_comes_once(server, tmp_path):
    for _ in range(2):
        get(server, tmp_path / "in" / "f")
    assert (tmp_path / "in" / "f").read_bytes() == CONTENT
    assert server.log == [("/f", None, None)] and os.listdir(tmp_path / "in") == ["f"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_off_continues(server, tmp_path, ranges):
    server.ranges, server.cuts = ranges, [100_000, 300_000]
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    second = "bytes=400000-" if ranges else "bytes=300000-"
    assert [asked for _, asked, _ in server.log] == [None, "bytes=100000-", second]


def test_a_later_call_continues(server, tmp_path):
    server.cuts = [5000] * 3
    with pytest.raises(UserError, match=r"f: cut off after 15000 of 1280000 bytes; run the same command again"):
        get(server, tmp_path / "f")
    assert os.listdir(tmp_path) == ["f.part"] and (tmp_path / "f.part").stat().st_size == 15000
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_part_that_was_whole_gets_its_name(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT)
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["f", "f.part"])  # copied there by hand, or left by an earlier call
def test_wrong_content_is_refused(server, tmp_path, name):
    (tmp_path / name).write_bytes(CONTENT + b"more")
    with pytest.raises(UserError, match=rf"{name}: MD5 \w+, not {MD5}: damaged or the wrong file; remove it"):
        get(server, tmp_path / "f")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_says_what_to_do_and_hides_the_key(server, tmp_path, status):
    server.status["/f?key=hush"] = status
    remote = Remote(f"{server.url}/f?key=hush", secret="hush", remedy="ask for a key")
    with pytest.raises(UserError, match=rf"/f\?key=\*\*\*: HTTP Error {status}: .*; ask for a key"):
        fetch(remote, tmp_path / "f")
    with pytest.raises(UserError, match=r"No such file or directory: .*; look for another source"):
        fetch(Remote((tmp_path / "none").as_uri()), tmp_path / "f")
    assert len(server.log) == 1 and os.listdir(tmp_path) == []


def test_a_web_page_is_not_the_file_and_does_not_replace_a_part(server, tmp_path):
    server.kind, server.ranges = "text/html", False
    (tmp_path / "f.part").write_bytes(CONTENT[:9])
    with pytest.raises(UserError, match=r"answers with a web page, not the file"):
        get(server, tmp_path / "f")
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:9]


def test_a_busy_silent_or_absent_server_is_asked_again(server, tmp_path, monkeypatch):
    server.status["/f"] = 503
    with pytest.raises(UserError, match=r"HTTP Error 503: Service Unavailable; run the same command again"):
        get(server, tmp_path / "f")
    assert len(server.log) == 3
    with pytest.raises(UserError, match=r"refused.*; run the same command again"):
        fetch(Remote("http://127.0.0.1:9/f"), tmp_path / "f", tries=2, pause_s=0)
    monkeypatch.setattr("local.download.TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match=r"timed out; run the same"):
        fetch(Remote(f"http://127.0.0.1:{silent.getsockname()[1]}/f"), tmp_path / "f", tries=1)


def test_a_token_does_not_follow_to_another_place(server, tmp_path):
    server.status["/f"], server.files["/elsewhere"] = 302, CONTENT
    get(server, tmp_path / "f", token="hush")
    assert [authorization for _, _, authorization in server.log] == ["Bearer hush", None]


def test_a_full_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr("local.download.SPARE_BYTES", 1 << 60)
    with pytest.raises(UserError, match=r"GB are needed, .* are free; free some"):
        get(server, tmp_path / "f")

    def extract(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(zipfile.ZipFile, "extract", extract)
    with pytest.raises(OSError, match="No space left on device"):  # not taken for a damaged archive
        unzip([make_zip(tmp_path / "zip", {"a": b"a"})], tmp_path / "out")


def test_a_split_zip_is_unpacked_and_a_second_time_only_what_is_missing(tmp_path, monkeypatch):
    whole = make_zip(tmp_path / "zip", {"wav/1.wav": b"a" * 700, "wav/2.wav": b"b" * 500, "empty": b""}).read_bytes()
    parts, out = [tmp_path / "partaa", tmp_path / "partab", tmp_path / "partac"], tmp_path / "out"
    for part, content in zip(parts, (whole[:50], b"", whole[50:]), strict=True):
        part.write_bytes(content)
    assert unzip(parts, out) == 3
    kept = (out / "wav" / "1.wav").stat().st_mtime_ns
    (out / "wav" / "2.wav").write_bytes(b"cut off")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 600))
    assert unzip(parts, out) == 3
    assert (out / "wav" / "2.wav").read_bytes() == b"b" * 500 and (out / "empty").is_file()
    assert (out / "wav" / "1.wav").stat().st_mtime_ns == kept and sorted(os.listdir(out)) == ["empty", "wav"]
    with pytest.raises(UserError, match=r"other: about .* are needed"):
        unzip(parts, tmp_path / "other")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_nothing_lands_outside(tmp_path, name):
    unzip([make_zip(tmp_path / "zip", {name: b"x"})], tmp_path / "out")
    with pytest.raises(UserError, match=r"would land outside of .*; not unpacked"):
        untar(make_tar(tmp_path / "tar.gz", {name: b"x"}), tmp_path / "out")
    assert not (tmp_path / "x").exists() and not os.path.exists("/x")


def test_links_are_not_made(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    unzip([make_zip(tmp_path / "zip", {link: b"/etc/passwd"})], tmp_path / "out")
    assert (tmp_path / "out" / "link").read_bytes() == b"/etc/passwd" and not (tmp_path / "out" / "link").is_symlink()
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "tar", "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        with pytest.raises(UserError, match="'link' is a link"):
            untar(tmp_path / "tar", tmp_path / "out2")


def test_damaged_archives(tmp_path):
    damaged = bytearray(make_zip(tmp_path / "zip", {"a": CONTENT}).read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "zip").write_bytes(damaged)
    os.truncate(make_tar(tmp_path / "tar.gz", {"a": CONTENT}), 2000)
    (tmp_path / "text").write_text("not an archive")
    for unpack, name in ((unzip, "zip"), (unzip, "text"), (untar, "tar.gz"), (untar, "text")):
        with pytest.raises(UserError, match=rf"{name}: cannot be unpacked .*; remove it and run this again"):
            unpack([tmp_path / name] if unpack is unzip else tmp_path / name, tmp_path / unpack.__name__)
    assert not any((tmp_path / "unzip").iterdir())


@pytest.mark.parametrize(("make", "name"), [(make_zip, "c.zip"), (make_tar, "c.tar.gz")])
def test_a_folder_is_brought_whole_or_not_at_all(tmp_path, make, name):
    remote = Remote(make(tmp_path / name, {"corpus/a": CONTENT}).as_uri())
    archive, folder = tmp_path / "to" / name, tmp_path / "to" / "mine"
    folder.mkdir(parents=True)  # empty, as a user may have made it
    archive.write_bytes((tmp_path / name).read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be unpacked"):
        bring(remote, archive, "corpus", folder)
    assert sorted(os.listdir(tmp_path / "to")) == [name, "mine"] and not any(folder.iterdir())
    archive.unlink()
    bring(remote, archive, "corpus", folder)
    assert (folder / "a").read_bytes() == CONTENT and os.listdir(tmp_path / "to") == ["mine"]
    (tmp_path / name).unlink()
    bring(remote, archive, "corpus", folder)  # nothing is fetched
