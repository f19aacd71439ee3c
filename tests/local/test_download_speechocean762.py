"""speechocean762 is fetched, unpacked, and kept."""

import os
import shutil

import pytest

from tests.archives import make_tar


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
