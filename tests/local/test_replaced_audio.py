"""Recordings that were replaced under their old names: what was made of them is made again."""

from pathlib import Path

import pytest

from sv.audio.data_check import DataCheck
from sv.audio.shard_parts import ShardParts
from sv.config import Config
from sv.data.fbank_parts import FbankParts
from sv.io import DataDir
from sv.jobs.parts import Parts
from tests.local.noise_files import write_audio


def works_of(data: Path, arks: Path) -> list[Parts]:
    """Return features, also of a copy, shards, and the check."""
    copy = data.with_name("train_sp0.9")
    fbank = [FbankParts(data_dir=one, ark_dir=arks / one.name, system=Config(), num_jobs=2) for one in (data, copy)]
    shards = ShardParts(data_dir=data, shard_dir=data / "shards", utts_per_shard=2)
    return [*fbank, shards, DataCheck(data_dirs=(data.with_name("dev"), data), once=True)]


@pytest.mark.slow
@pytest.mark.parametrize("arks", ["fbank", "elsewhere/arks"])
def test_all_that_was_made_of_replaced_recordings_is_made_again(corpus, tmp_path, prepare, arks):
    data = tmp_path / "train"
    prepare(corpus, data)
    write_audio(tmp_path / "more" / "dora" / "a.wav")
    prepare(tmp_path / "more", tmp_path / "dev")
    DataDir.write(tmp_path / "train_sp0.9", {"wav.scp": DataDir(data).wav_scp, "utt2spk": DataDir(data).utt2spk})
    for work in works_of(data, tmp_path / arks):
        for job in range(1, work.begin() + 1):
            work.run(job)
        work.finish()
    assert "other lengths" not in prepare(corpus, data)
    assert [work.stale() for work in works_of(data, tmp_path / arks)] == [""] * 4
    write_audio(corpus / "ann" / "a.wav", seconds=0.2)
    said = prepare(corpus, data)
    assert "other lengths than before: 1 utterance, the first ann/a.wav of 0.200000 s instead of 0.500000 s" in said
    for work in works_of(data, tmp_path / arks):
        assert work.stale() and len(work.sort()[0]) == work.num_parts
