"""Lists of noise and rooms: of MUSAN and RIRS_NOISES as distributed, of folders with a type, and of what is made up."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.io import read_table


def pack(folder: Path, archive: Path) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as z:
            for path in sorted(folder.rglob("*")):
                z.write(path, path.relative_to(folder.parent))
    else:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)


@pytest.mark.parametrize(
    ("script", "option", "name", "constant", "fixture"),
    [
        ("prepare_musan", "--musan", "musan.tar.gz", "MUSAN", "musan"),
        ("prepare_rirs", "--rirs", "rirs_noises.zip", "RIRS", "rirs"),
    ],
)
def test_archives_are_fetched_checked_and_unpacked(
    call, request, tmp_path, monkeypatch, script, option, name, constant, fixture
):
    source = request.getfixturevalue(fixture)
    target = tmp_path / "corpora" / "any_name"
    pack(source, tmp_path / name)
    words = ["--download", "true", "--url", (tmp_path / name).as_uri(), option, target, tmp_path / "out"]
    with pytest.raises(UserError, match=rf"{name}\.part: MD5 \w+, not \w+: damaged or the wrong file"):
        call(script, *words)
    import local.prepare_noises as shared

    published = shared.bring
    md5 = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()

    def with_our_md5(remote, *args, **options):
        published(type(remote)(remote.url, md5=md5), *args, **options)

    monkeypatch.setattr(shared, "bring", with_our_md5)
    call(script, *words)
    assert read_table(tmp_path / "out/wav.scp") and not (target.parent / name).exists()
    (tmp_path / name).unlink()
    call(script, *words)  # all is there: nothing is fetched
