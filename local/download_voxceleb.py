#!/usr/bin/env python3
"""Fetch, check and unpack VoxCeleb1 and 2. If you have the files, skip this: run.sh --vox1 DIR --vox2 DIR.

Sources (local/voxceleb_parts.yaml; --table takes another file of the same form):
  hf      a mirror on Hugging Face; a token in HF_TOKEN is used if there is one
  mmai    the authors' site; put the access key that they send (https://cn01.mmai.io/keyreq/voxceleb) in VOXCELEB_KEY
  oxford  the first site; it now answers 401 to everybody
  URL     a server with the files and the trial lists; {file}, {folder} (vox1, vox2, meta) and {key} are filled in
  DIR     a folder with the zips or their parts, and perhaps the trial lists

Writes  <out-dir>/archives/*              the parts, checked by MD5; --keep false removes them once they are unpacked
        <out-dir>/voxceleb1/wav/...       VoxCeleb1, dev and test
        <out-dir>/voxceleb2/dev/aac/...   VoxCeleb2 dev, in m4a; stage 1 converts it
        <out-dir>/voxceleb1/*.txt         the trial lists

A second run continues a part at the byte where it stopped, and unpacks missing files. VoxCeleb1 takes about 40 GB and
VoxCeleb2 about 80 GB, and twice as much while the archives are kept.
"""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _path  # noqa: F401
import yaml

from local.download import SPARE_BYTES, Remote, check, fetch, missing_bytes, unzip
from sv.errors import UserError, WrongCall, log, run_step
from sv.io import atomic_write
from sv.jobs import DoneMark
from sv.jobs.disk import check_free

TABLE = Path(__file__).with_name("voxceleb_parts.yaml")
HAVE_FILES = "or give the folders of existing copies: run.sh --vox1 DIR --vox2 DIR"


@dataclass(frozen=True)
class Source:
    """A source of files: a local folder, or a URL with {file}, {folder} and {key}."""

    folder: Path | None = None
    url: str = ""
    key: str = ""
    token: str = ""
    need: str = ""  # what the server may ask for, for error messages
    has_lists: bool = False

    def remote(self, file: str, folder: str, md5: str) -> Remote:
        """Return one file of this source."""
        url = self.url.replace("{file}", file).replace("{folder}", folder).replace("{key}", self.key)
        return Remote(url, md5, self.token, self.key, f"{self.need}; try another --source, {HAVE_FILES}")


def find_source(name: str, table: dict[str, Any]) -> Source:
    """Return the source that --source names.

    Raises:
        UserError: it is no known name, address or folder, or its access key is not set.
    """
    if Path(name).is_dir():
        return Source(folder=Path(name))
    known = table["sources"].get(name, {})
    if not known and not re.match(r"(https?|file)://", name):
        raise WrongCall(f"--source {name!r}: known are {', '.join(table['sources'])}, an address, or a folder")
    url = known.get("url") or (name if "{file}" in name else name.rstrip("/") + "/{file}")
    variable = known.get("key") or known.get("token") or "VOXCELEB_KEY"
    secret = os.environ.get(variable, "")
    terms = f" ({known['terms']})" if "terms" in known else ""
    if "{key}" in url and not secret:
        raise UserError(f"--source {name} needs an access key{terms}: export {variable}=..., {HAVE_FILES}")
    need = f"it may want you to fill in a form, or another access key in {variable}{terms}"
    if "token" in known:
        return Source(url=url, token=secret, need=need)
    return Source(url=url, key=secret if "{key}" in url else "", need=need, has_lists=not known)


def done_mark(name: str, archive: dict[str, Any], out: Path) -> DoneMark:
    """Return the mark that says that an archive is unpacked."""
    return DoneMark(out / archive["corpus"] / f".done.{name}", {"archive": name, "md5": archive["files"]})


def remotes(archive: dict[str, Any], source: Source, out: Path) -> dict[Path, Remote]:
    """Return the parts of an archive, by the path that each is downloaded to."""
    files: dict[str, str] = archive["files"]
    return {out / "archives" / file: source.remote(file, archive["folder"], md5) for file, md5 in files.items()}


def check_disk(wanted: dict[str, dict[str, Any]], source: Source, out: Path) -> None:
    """Compare the free disk with all that is still to be fetched, before the first download.

    Raises:
        UserError: there is too little. Files whose length the server does not tell are not counted.
    """
    stale = [archive for name, archive in wanted.items() if done_mark(name, archive, out).stale()]
    if needed := sum(missing_bytes(remotes(archive, source, out)) for archive in stale):
        check_free({out: needed + SPARE_BYTES})


def find_parts(archive: dict[str, Any], folder: Path) -> list[Path]:
    """Return the parts of an archive in a folder of the user's, or the zip that was joined from them, MD5 checked.

    Raises:
        UserError: a part is missing, or its MD5 is wrong.
    """
    files: dict[str, str] = archive["files"]
    for file, md5 in archive.get("whole", {}).items():
        if (folder / file).is_file():
            files = {file: md5}
    for file in files:
        if not (folder / file).is_file():
            raise UserError(f"{folder / file} does not exist; copy it there, or choose with --parts what to take")
    for file, md5 in files.items():
        check(folder / file, md5)
    return [folder / file for file in files]


def get_lists(table: dict[str, Any], source: Source, out: Path) -> None:
    """Copy the trial lists from the user's folder, or fetch them from the user's server or their public address."""
    lists = table["lists"]
    for file, md5 in lists["files"].items():
        path = out / lists["corpus"] / file
        if path.is_file():
            continue
        if source.folder and (source.folder / file).is_file():
            with atomic_write(path, "wb") as f:
                f.write((source.folder / file).read_bytes())
        elif source.has_lists:
            fetch(source.remote(file, "meta", md5), path)
        else:
            remedy = f"get {file} from there by hand and give its folder to run.sh with --lists"
            fetch(Remote(lists["url"].replace("{file}", file), md5, remedy=remedy), path)


def get(name: str, archive: dict[str, Any], source: Source, out: Path, keep: bool) -> None:
    """Fetch and unpack one archive, unless that is done."""
    target = out / archive["corpus"]
    mark = done_mark(name, archive, out)
    if not mark.stale():
        log.info("%s is in %s already", name, target)
        return
    downloads = {} if source.folder else remotes(archive, source, out)
    for path, remote in downloads.items():
        fetch(remote, path)
    count = unzip(find_parts(archive, source.folder) if source.folder else [*downloads], target)
    mark.write([])
    log.info("%s: %d files in %s", name, count, target)
    if not keep:
        for path in downloads:
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="out-dir", help="folder to put the corpora into")
    parser.add_argument("--source", default="hf", help="hf, mmai, oxford, URL or DIR")
    parser.add_argument("--parts", default="", help='what to fetch, such as "lists vox1_test"; default: all')
    parser.add_argument("--keep", choices=["true", "false"], default="true", help="keep the archives")
    parser.add_argument("--table", type=Path, default=TABLE, help="sources, files and checksums")
    args = parser.parse_args()
    if not args.table.is_file():
        raise UserError(f"--table {args.table} does not exist")
    table = yaml.safe_load(args.table.read_text())
    wanted = args.parts.replace(",", " ").split() or ["lists", *table["archives"]]
    for name in wanted:
        if name != "lists" and name not in table["archives"]:
            raise WrongCall(f"--parts {name}: known are lists, {', '.join(table['archives'])}")
    source = find_source(args.source, table)
    archives = {name: table["archives"][name] for name in wanted if name != "lists"}
    if source.folder is None:
        check_disk(archives, source, args.out_dir)
    if "lists" in wanted:
        get_lists(table, source, args.out_dir)
    for name, archive in archives.items():
        get(name, archive, source, args.out_dir, args.keep == "true")


if __name__ == "__main__":
    run_step(main)
