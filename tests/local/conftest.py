"""Fixtures of several files: a server to download from, scripts within this process, corpora of noise and rooms."""

import importlib.util
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.prepare_folder import main
from sv.errors import UserError
from tests.archives import CONTENT
from tests.local.noise_files import write, write_audio


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


@pytest.fixture
def call(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run a script of local/ within this process; its module is returned."""

    def run_script(name: str, *words: object) -> object:
        spec = importlib.util.spec_from_file_location(name, root / "local" / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        module.main()
        return module

    return run_script


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "musan"
    for name in ("noise/free-sound/n-0", "noise/sound-bible/n-1", "music/fma/m-0", "speech/librivox/s-0"):
        write(folder / f"{name}.wav")
    (folder / "README").write_text("a corpus")
    (folder / "noise/free-sound/._n-0.wav").write_text("what macOS leaves")
    return folder


@pytest.fixture
def rirs(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "RIRS_NOISES"
    write(folder / "simulated_rirs/smallroom/Room001/Room001-00001.wav")
    real = folder / "real_rirs_isotropic_noises"
    write(real / "RVB2014_type1_rir_largeroom1.wav", channels=8)
    write(real / "RVB2014_type1_noise_largeroom1.wav")
    line = "--rir-id 1 --room-id 1 RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1.wav\n"
    (real / "rir_list").write_text(line)
    return folder


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
