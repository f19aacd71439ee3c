"""Marks of finished work: what was asked, what it read, what it wrote.

A mark is a JSON file, written last. Work counts as done only while the mark has its options and the checksums of its
inputs, and the outputs have the sizes (and, when asked, the checksums) in the mark. Its paths are from its folder.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sv.errors import UserError
from sv.io.atomic import atomic_write, sha256_of
from sv.io.json_yaml import read_json
from sv.io.paths import path_from

NOT_MADE = "not made yet"  # what `stale` says of work without a mark


@dataclass(frozen=True)
class DoneMark:
    """A mark.

    Args:
        path: the mark's own file, for instance fbank/vox1/.done.fbank.3
        options: all that decides the result, as plain JSON values.
        inputs: files that decide the result; small ones, since they are hashed at each look.
    """

    path: Path
    options: Mapping[str, Any]
    inputs: tuple[Path, ...] = ()

    @classmethod
    def recorded(cls, path: Path) -> "DoneMark":
        """Read a mark from its file, to check by `stale` whether it still holds."""
        try:
            mark = read_json(path)
            return cls(path, mark["options"], tuple(path.parent / name for name in mark["inputs"]))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return cls(path, {})  # missing or damaged, as `stale` will say

    def stale(self, *, verify: bool = False) -> str:
        """Return why the work has to be done (again), or "" if it is done.

        Args:
            verify: compare the checksums of outputs, not only their sizes.
        """
        try:
            mark = read_json(self.path)
        except FileNotFoundError:
            return NOT_MADE
        except ValueError:
            return f"{self.path} is damaged"
        if not isinstance(mark, dict) or not {"options", "inputs", "outputs"} <= mark.keys():
            return f"{self.path} is damaged"
        if mark["options"] != json.loads(json.dumps(dict(self.options))):
            return f"options differ from those of {self.path}"
        if mark["inputs"] != self._inputs():
            return f"inputs have changed since {self.path}"
        return next(filter(None, (self._damage(name, about, verify) for name, about in mark["outputs"].items())), "")

    def _inputs(self) -> dict[str, str]:
        """Return the checksum of each input that is there, by its path from the mark."""
        return {path_from(path, self.path.parent): sha256_of(path) for path in self.inputs if path.is_file()}

    def _damage(self, name: str, output: dict[str, Any], verify: bool) -> str:
        path = self.path.parent / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != output["size"]:
            return f"{path} has {path.stat().st_size} bytes instead of {output['size']}"
        if verify and sha256_of(path) != output["sha256"]:
            return f"{path} is damaged: its checksum is not the one in {self.path}"
        return ""

    def outputs(self) -> dict[Path, str]:
        """Return the files of finished work and their SHA-256, as the mark has them."""
        found = read_json(self.path)["outputs"]
        return {self.path.parent / name: str(about["sha256"]) for name, about in found.items()}

    def write(self, outputs: Iterable[Path], checksums: Mapping[Path, str] | None = None) -> None:
        """Write the mark: the work is done.

        Args:
            outputs: files that were written.
            checksums: SHA-256 of those that were hashed while they were written; the others are hashed now.
        """
        known = checksums or {}
        mark = {
            "options": dict(self.options),
            "inputs": self._inputs(),
            "outputs": {
                path_from(path, self.path.parent): {
                    "size": path.stat().st_size,
                    "sha256": known.get(path) or sha256_of(path),
                }
                for path in outputs
            },
        }
        with atomic_write(self.path) as f:
            json.dump(mark, f, indent=1, sort_keys=True)
            f.write("\n")


def claim_folder(folder: Path, what: str, note: str, proof: Path, remedy: str = "") -> None:
    """Claim a folder for one data dir: two would overwrite each other's files.

    Args:
        folder: the folder.
        what: what it holds, for the error: "fbank archives".
        note: name of the file in it that names its data dir.
        proof: a file that the data dir has while its work there is whole.
        remedy: what to do, for the error; "": give the data dir a folder of its own.

    Raises:
        UserError: it is another data dir's.
    """
    ours, noted = proof.parent.resolve(), folder / note
    owner = (folder / noted.read_text().strip()).resolve() if noted.is_file() else ours
    if owner != ours and (owner / proof.name).exists():
        remedy = remedy or f"give {proof.parent} a folder of its own"
        raise UserError(f"{folder} holds the {what} of {owner}; {remedy}")
    with atomic_write(noted) as f:
        f.write(f"{path_from(ours, folder)}\n")
