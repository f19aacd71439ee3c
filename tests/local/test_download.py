import errno
import hashlib
import io
import os
import re
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from local import download_voxceleb
from local.download import SPARE_BYTES, Remote, bring, fetch, untar, unzip
from local.download_voxceleb import check_disk, find_source
from sv.errors import UserError

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server of `files` (path -> content) that can fail; `log` holds path, Range and Authorization of each GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            if self.command == "GET":
                server.log.append((self.path, asked, self.headers.get("Authorization")))
            content = b"" if self.path in server.status else server.files.get(self.path, b"")
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
            code = server.status.get(self.path) or (404 if not content else 206 if start else 200)
            if start >= len(content) > 0:
                code, start = 416, len(content)
            self.send_response(code)
            self.send_header("Location", "/elsewhere")  # read with 302 only
            self.send_header("Content-Type", server.kind)
            if server.tells_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if self.command == "GET" and code in (200, 206):
                self.wfile.write(content[start : start + server.cuts.pop(0) if server.cuts else None])

        do_HEAD = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None  # a client may hang up
    server.files, server.status, server.log, server.cuts = {"/f": CONTENT}, {}, [], []
    server.tells_length, server.ranges, server.kind = True, True, "application/zip"
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


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


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


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
        untar(make_tar(tmp_path / "tar", {name: b"x"}), tmp_path / "out")
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
    os.truncate(make_tar(tmp_path / "tar", {"a": CONTENT}), 2000)
    (tmp_path / "text").write_text("not an archive")
    for unpack, name in ((unzip, "zip"), (unzip, "text"), (untar, "tar"), (untar, "text")):
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


@pytest.mark.slow
def test_speechocean762_is_fetched_and_unpacked(server, tmp_path, run):
    server.files["/so.tar.gz"] = make_tar(
        tmp_path / "so.tar.gz", {f"speechocean762/{name}": b"x" for name in ("WAVE/1.WAV", "train/wav.scp")}
    ).read_bytes()
    corpus = tmp_path / "corpora" / "so"
    command = ["local/download_speechocean762.py", "--url", f"{server.url}/so.tar.gz", corpus]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path / "corpora") == ["so"] and sorted(os.listdir(corpus)) == ["WAVE", "train"]
    assert "is there already" in run(*command).stderr and len(server.log) == 1
    shutil.rmtree(corpus / "train")
    assert "is not empty and holds no train/wav.scp" in run(*command).stderr
