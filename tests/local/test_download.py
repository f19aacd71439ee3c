import hashlib
import io
import os
import shutil
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from local.download import SPARE_BYTES, JoinedFiles, Remote, fetch, untar, unzip
from local.download_voxceleb import check_disk, find_source
from sv.errors import UserError

CONTENT = bytes(range(256)) * 5000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server of `files` (path -> content), with ways to fail; `log` holds the requests' paths and ranges."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            server.log.append((self.path, self.headers.get("Range")))
            server.authorization.append(self.headers.get("Authorization"))
            if self.path in server.status:
                code = server.status[self.path]
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", server.elsewhere)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = 0
            if (asked := self.headers.get("Range")) and server.ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", server.kind)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if server.cuts:
                end, self.close_connection = min(end, start + server.cuts.pop(0)), True
            self.wfile.write(content[start:end])

        def do_HEAD(self):
            content = server.files.get(self.path)
            self.send_response(404 if content is None or not server.tells_length else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            """A client that hangs up is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    server.files, server.status, server.log, server.cuts = {"/f": CONTENT}, {}, [], []
    server.authorization, server.elsewhere = [], ""
    server.tells_length = True
    server.ranges, server.kind = True, "application/zip"
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server, path, md5=MD5, **options):
    fetch(Remote(f"{server.url}/f", md5, **options), path, tries=3, pause_s=0)


def test_a_file_comes_once(server, tmp_path):
    get(server, tmp_path / "in" / "f")
    get(server, tmp_path / "in" / "f")
    assert (tmp_path / "in" / "f").read_bytes() == CONTENT
    assert server.log == [("/f", None)]
    assert sorted(os.listdir(tmp_path / "in")) == ["f", "f.ok"]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_goes_on(server, tmp_path, ranges):
    server.ranges, server.cuts = ranges, [100_000, 300_000]
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT
    ranges_asked = [asked for _, asked in server.log]
    assert ranges_asked == [None, "bytes=100000-", "bytes=400000-" if ranges else "bytes=300000-"]


def test_a_later_call_goes_on_with_what_is_there(server, tmp_path):
    server.cuts = [5000] * 3
    with pytest.raises(UserError, match=r"broken off .*; run the same command again, it goes on"):
        get(server, tmp_path / "f")
    assert os.listdir(tmp_path) == ["f.part"] and (tmp_path / "f.part").stat().st_size == 15000
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_all_was_there_but_not_renamed(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT)
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_begun_again(server, tmp_path):
    (tmp_path / "f.part").write_bytes(CONTENT + b"more")
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_wrong_content_is_removed(server, tmp_path):
    with pytest.raises(UserError, match=r"f: MD5 .*, not 0123: damaged or not the right file; removed"):
        get(server, tmp_path / "f", md5="0123")
    assert os.listdir(tmp_path) == []


def test_a_file_brought_by_hand_is_checked(server, tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    get(server, tmp_path / "f")
    assert server.log == []
    (tmp_path / "f").write_bytes(CONTENT[:-1])  # since then damaged
    with pytest.raises(UserError, match="damaged or not the right file"):
        get(server, tmp_path / "f")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_names_the_way_out_and_hides_the_key(server, tmp_path, status):
    server.status["/f?key=hush"] = status
    remote = Remote(f"{server.url}/f?key=hush", secret="hush", remedy="ask for a key")
    with pytest.raises(UserError, match=rf"/f\?key=\*\*\*: the server answers {status} .*; ask for a key"):
        fetch(remote, tmp_path / "f")
    assert os.listdir(tmp_path) == []


def test_a_web_page_is_not_the_file(server, tmp_path):
    server.kind = "text/html"
    with pytest.raises(UserError, match=r"answers with a web page, not the file"):
        get(server, tmp_path / "f")
    assert os.listdir(tmp_path) == []


def test_a_busy_or_absent_server_is_asked_again(server, tmp_path):
    server.status["/f"] = 503
    with pytest.raises(UserError, match=r"the server answers 503"):
        get(server, tmp_path / "f")
    assert len(server.log) == 3
    with pytest.raises(UserError, match=r"refused; run the same command again"):
        fetch(Remote("http://127.0.0.1:9/f"), tmp_path / "f", tries=2, pause_s=0)


def test_a_token_does_not_follow_to_another_place(server, tmp_path):
    server.status["/f"] = 302
    server.files["/g"], server.elsewhere = CONTENT, "/g"
    get(server, tmp_path / "f", token="hush")
    assert server.authorization == ["Bearer hush", None]


def test_a_full_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr("local.download.SPARE_BYTES", 1 << 60)
    with pytest.raises(UserError, match=r"GB are needed, .* are free; free some"):
        get(server, tmp_path / "f")


def test_joined_files_read_as_one(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    for path, part in zip(paths, (CONTENT[:1000], b"", CONTENT[1000:]), strict=True):
        path.write_bytes(part)
    with io.BufferedReader(JoinedFiles(paths), 300) as f:
        assert f.read() == CONTENT
        assert f.seek(-10, io.SEEK_END) == len(CONTENT) - 10 and f.read() == CONTENT[-10:]
        f.seek(990)
        assert f.read(20) == CONTENT[990:1010]


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_split_zip_is_unpacked_and_a_second_time_only_what_is_missing(tmp_path):
    whole = make_zip(tmp_path / "zip", {"wav/a/1.wav": b"one", "wav/b/2.wav": b"two"}).read_bytes()
    parts = [tmp_path / "partaa", tmp_path / "partab"]
    parts[0].write_bytes(whole[:50])
    parts[1].write_bytes(whole[50:])
    assert unzip(parts, tmp_path / "out") == 2
    kept = (tmp_path / "out" / "wav" / "a" / "1.wav").stat().st_mtime_ns
    (tmp_path / "out" / "wav" / "b" / "2.wav").write_bytes(b"t")
    assert unzip(parts, tmp_path / "out") == 2
    assert (tmp_path / "out" / "wav" / "b" / "2.wav").read_bytes() == b"two"
    assert (tmp_path / "out" / "wav" / "a" / "1.wav").stat().st_mtime_ns == kept


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x"])
def test_nothing_lands_outside(tmp_path, name):
    make_zip(tmp_path / "zip", {"ok": b"", name: b""})
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    for call in (
        lambda: unzip([tmp_path / "zip"], tmp_path / "out"),
        lambda: untar(tmp_path / "tar", tmp_path / "out"),
    ):
        with pytest.raises(UserError, match="would land outside"):
            call()
    assert not (tmp_path / "x").exists() and not (tmp_path / "out").exists()


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    make_zip(tmp_path / "zip", {link: b"/etc/passwd"})
    with pytest.raises(UserError, match="link is a link; not unpacked"):
        unzip([tmp_path / "zip"], tmp_path / "out")
    with tarfile.open(tmp_path / "tar", "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(UserError, match="link is neither file nor folder"):
        untar(tmp_path / "tar", tmp_path / "out")


def test_damaged_archives(tmp_path):
    make_zip(tmp_path / "zip", {"a": CONTENT})
    damaged = bytearray((tmp_path / "zip").read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "zip").write_bytes(damaged)
    with tarfile.open(tmp_path / "tar", "w:gz") as tar:
        info = tarfile.TarInfo("a")
        info.size = len(CONTENT)
        tar.addfile(info, io.BytesIO(CONTENT))
    os.truncate(tmp_path / "tar", (tmp_path / "tar").stat().st_size // 2)
    (tmp_path / "text").write_text("not an archive")
    for call in (
        lambda: unzip([tmp_path / "zip"], tmp_path / "out"),
        lambda: untar(tmp_path / "tar", tmp_path / "out"),
        lambda: unzip([tmp_path / "text"], tmp_path / "out"),
        lambda: untar(tmp_path / "text", tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=r"can not be unpacked .*; remove it and run the same command again"):
            call()
    assert not list(tmp_path.rglob("*.tmp"))


def vox_table(tmp_path, archives, lists):
    """A table of sources as local/voxceleb_parts.yaml, of these files."""
    lines = [
        "sources:",
        "  keyed: {url: 'http://127.0.0.1:9/{file}?key={key}', key: SV_TEST_KEY, terms: 'http://form'}",
    ]
    lines += ["archives:"]
    for name, (corpus, files) in archives.items():
        digests = {file: hashlib.md5(content).hexdigest() for file, content in files.items()}
        lines += [f"  {name}: {{folder: vox, corpus: {corpus}, files: {digests}}}"]
    digests = {file: hashlib.md5(content).hexdigest() for file, content in lists.items()}
    lines += [f"lists: {{url: 'http://127.0.0.1:9/{{file}}', corpus: voxceleb1, files: {digests}}}"]
    path = tmp_path / "table.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def vox(tmp_path, server):
    """Two small archives, one of them in two parts, and a list, on a server and in a folder; (table, folder)."""
    whole = make_zip(tmp_path / "zip", {"wav/id10001/v/00001.wav": b"dev"}).read_bytes()
    test = make_zip(tmp_path / "zip2", {"dev/aac/id00012/v/00001.m4a": b"m4a"}).read_bytes()
    files = {"v1_partaa": whole[:40], "v1_partab": whole[40:], "v2.zip": test, "veri_test2.txt": b"1 a b\n"}
    (tmp_path / "have").mkdir()
    for name, content in files.items():
        server.files[f"/{name}"] = content
        (tmp_path / "have" / name).write_bytes(content)
    archives = {
        "vox1_dev": ("voxceleb1", {name: files[name] for name in ("v1_partaa", "v1_partab")}),
        "vox2_dev": ("voxceleb2", {"v2.zip": test}),
    }
    return vox_table(tmp_path, archives, {"veri_test2.txt": b"1 a b\n"}), tmp_path / "have"


PARTS = ["--parts", "lists vox1_dev vox2_dev"]


@pytest.mark.parametrize("place", ["server", "folder"])
def test_voxceleb_from_a_server_or_a_folder(vox, server, tmp_path, run, place):
    table, folder = vox
    source = server.url if place == "server" else folder
    command = ["local/download_voxceleb.py", "--table", table, *PARTS, "--source", source, tmp_path / "out"]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "out"
    assert (out / "voxceleb1" / "wav" / "id10001" / "v" / "00001.wav").read_bytes() == b"dev"
    assert (out / "voxceleb2" / "dev" / "aac" / "id00012" / "v" / "00001.m4a").read_bytes() == b"m4a"
    assert (out / "voxceleb1" / "veri_test2.txt").read_bytes() == b"1 a b\n"
    asked = len(server.log)
    assert run(*command).returncode == 0 and len(server.log) == asked


def test_voxceleb_archives_can_be_removed(vox, server, tmp_path, run):
    table, _ = vox
    command = ["local/download_voxceleb.py", "--table", table, *PARTS, "--keep", "false", "--source", server.url]
    assert run(*command, tmp_path / "out").returncode == 0
    assert sorted(os.listdir(tmp_path / "out" / "archives")) == ["v1_partaa.ok", "v1_partab.ok", "v2.zip.ok"]
    assert run(*command, tmp_path / "out").returncode == 0 and len(server.log) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "keyed"], "needs an access key (http://form): export SV_TEST_KEY=..."),
        (["--source", "nowhere"], "--source 'nowhere': known are keyed, an address, or a folder"),
        (["--parts", "vox3"], "--parts vox3: known are lists, vox1_dev, vox2_dev"),
        (["--table", "/nowhere"], "--table /nowhere does not exist"),
    ],
)
def test_voxceleb_wrong_calls(vox, tmp_path, run, options, message):
    table, _ = vox
    result = run("local/download_voxceleb.py", "--table", table, *options, tmp_path / "out")
    assert result.returncode == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tells_length", [True, False])
def test_voxceleb_all_parts_together_have_to_fit(vox, server, tmp_path, monkeypatch, tells_length):
    table, _ = vox
    sizes = [len(server.files[f"/{name}"]) for name in ("v1_partaa", "v1_partab", "v2.zip")]
    server.tells_length = tells_length
    (tmp_path / "out" / "archives").mkdir(parents=True)
    (tmp_path / "out" / "archives" / "v1_partab.part").write_bytes(server.files["/v1_partab"][:10])
    wanted = yaml.safe_load(table.read_text())["archives"]
    source = find_source(server.url, {"sources": {}})

    def check(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free + SPARE_BYTES))
        check_disk(wanted, source, tmp_path / "out")

    check(sum(sizes) - 10)
    if tells_length:
        with pytest.raises(UserError, match=r"out: about .* are needed, .* are free; free some"):
            check(sum(sizes) - 11)
    else:
        check(0)
    assert not server.log  # nothing was fetched


def test_unpacking_takes_what_is_missing(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "zip", {"a": b"a" * 700, "b": b"b" * 500})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 600))
    with pytest.raises(UserError, match=r"out: about .* are needed"):
        unzip([archive], tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"a" * 700)
    assert unzip([archive], tmp_path / "out") == 2


def test_voxceleb_refused_by_the_server(vox, server, tmp_path, run):
    table, _ = vox
    server.status["/v1_partaa"] = 401
    result = run("local/download_voxceleb.py", "--table", table, *PARTS, "--source", server.url, tmp_path / "out")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "answers 401" in last and "access key" in last and "--vox1 DIR --vox2 DIR" in last


def test_voxceleb_a_missing_part_in_a_folder(vox, tmp_path, run):
    table, folder = vox
    (folder / "v1_partab").unlink()
    result = run("local/download_voxceleb.py", "--table", table, *PARTS, "--source", folder, tmp_path / "out")
    assert result.returncode == 1 and "v1_partab does not exist; bring it" in result.stderr


def test_the_table_in_the_repository_is_whole(root, run, tmp_path):
    """Every MD5 has its length, and a DIR source without the files is refused, not the table."""
    result = run("local/download_voxceleb.py", "--source", tmp_path, "--parts", "vox2_dev", tmp_path / "out")
    assert result.returncode == 1 and "vox2_dev_aac_partaa does not exist" in result.stderr
    words = (root / "local" / "voxceleb_parts.yaml").read_text().replace(",", " ").replace("}", " ").split()
    digests = [word for word in words if len(word) == 32 and all(c in "0123456789abcdef" for c in word)]
    assert len(digests) == 4 + 1 + 8 + 3 + 3


def make_speechocean(path, drop=""):
    names = {f"WAVE/SPEAKER000{n}/0000{n}0001.WAV": b"audio" for n in (1, 2)}
    names |= {
        f"{s}/wav.scp": f"0000{n}0001\tWAVE/SPEAKER000{n}/0000{n}0001.WAV\n".encode()
        for s, n in (("train", 1), ("test", 2))
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in names.items():
            if name != drop:
                info = tarfile.TarInfo(f"speechocean762/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def test_speechocean762_is_fetched_and_unpacked_whole(server, tmp_path, run):
    server.files["/so.tar.gz"] = make_speechocean(tmp_path / "so.tar.gz")
    server.kind = "application/gzip"
    command = ["local/download_speechocean762.py", "--url", f"{server.url}/so.tar.gz", tmp_path / "corpora" / "so"]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(tmp_path / "corpora")) == ["so"]
    assert sorted(os.listdir(tmp_path / "corpora" / "so")) == ["WAVE", "test", "train"]
    assert "is there already" in run(*command).stderr and len(server.log) == 1


def test_speechocean762_with_a_file_missing_is_not_there_at_all(server, tmp_path, run):
    server.files["/so.tar.gz"] = make_speechocean(tmp_path / "so.tar.gz", drop="WAVE/SPEAKER0002/000020001.WAV")
    result = run("local/download_speechocean762.py", "--url", f"{server.url}/so.tar.gz", tmp_path / "corpora" / "so")
    assert result.returncode == 1 and "which is not in the archive" in result.stderr
    assert not (tmp_path / "corpora" / "so").exists()
