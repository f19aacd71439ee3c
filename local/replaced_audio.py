"""Recordings that were replaced under their old names: let stage 2 make again what it made of them.

The marks of features, shards and checks hold the names of files, not their content.
"""

import glob
from collections.abc import Mapping
from pathlib import Path

from sv.audio.tar_shards import read_shard_list
from sv.errors import UserError, counted, log
from sv.io import DataDir
from sv.jobs import DoneMark

TOLERANCE_S = 0.01  # Kaldi's utt2dur may have two decimals


def withdraw_replaced(data_dir: Path, seconds: Mapping[str, str]) -> None:
    """If utterances have other durations than in utt2dur, let stage 2 make all again of a data dir and its copies.

    Args:
        data_dir: the data dir, if it is there already; its copies are beside it, with names <data-dir>_...
        seconds: utterance -> duration now, as a value of utt2dur.
    """
    try:
        before = DataDir(data_dir).utt2dur
    except UserError:  # not there yet, or damaged: it is written anew
        return
    both = seconds.keys() & before.keys()
    changed = sorted(utt for utt in both if abs(float(seconds[utt]) - before[utt]) > TOLERANCE_S)
    if not changed:
        return
    for folder in (data_dir, *data_dir.parent.glob(f"{glob.escape(data_dir.name)}_*")):
        _withdraw(folder)
    for mark in data_dir.parent.glob("*/check_data/.done*"):  # a check of several data dirs is marked in the first
        mark.unlink()
    log.warning(
        "%s: other lengths than before: %s, the first %s of %s s instead of %.6f s; stage 2 makes all features anew",
        data_dir, counted(len(changed), "utterance"), changed[0], seconds[changed[0]], before[changed[0]],
    )  # fmt: skip


def _withdraw(data_dir: Path) -> None:
    """Remove the list of shards, the lists of features that were made here, and the marks of all parts."""
    made: list[Path] = []
    for name, scp in (("fbank", "feats.scp"), ("vad", "vad.scp")):
        options = DoneMark.recorded(data_dir / f".done.{name}").options
        if options:
            made.append(data_dir / scp)
        arks = data_dir / options["ark_dir"] if options else data_dir.parent / "fbank" / data_dir.name  # as in recipes
        made += arks.glob(f".done.{name}.*")
    shards = data_dir / "shard.list"
    folders = {path.parent for path in read_shard_list(shards)} if shards.is_file() else {data_dir / "shards"}
    made += [shards, *(mark for folder in folders for mark in folder.glob(".done.shards_*"))]
    for path in made:
        path.unlink(missing_ok=True)
