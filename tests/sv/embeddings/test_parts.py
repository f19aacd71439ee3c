"""Extraction in parts: any number of jobs, what is kept, what is made again, what is left out, what is refused."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch

from sv.audio.features import Fbank, find_voiced
from sv.audio.tar_shards import Recording, write_shard
from sv.audio.vad_parts import VadParts
from sv.data.fbank_parts import FbankParts
from sv.embeddings.encoder import load_encoder
from sv.embeddings.experiment import read_config
from sv.embeddings.parts import Extraction
from sv.errors import UserError
from sv.io import read_table, read_vectors, write_table
from tests.sv.audio.vad_data import make_data as make_vad_data
from tests.sv.embeddings.random_system import (
    MELS,
    UTTS,
    extract,
    make_feats,
    make_model,
    make_system,
    split,
    work_of,
)


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """An experiment folder and a data dir."""
    return make_system(tmp_path)


@pytest.fixture
def waves(system: tuple[Path, Path]) -> tuple[Path, Path]:
    """Give the system's data dir waveforms of half a second; one of the seven may be bad."""
    exp, data = system
    for number in range(len(UTTS)):
        soundfile.write(data / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 8000), 16000)
    write_table(data / "wav.scp", {utt: data / f"{number}.wav" for number, utt in enumerate(UTTS)})
    write_table(data / "utt2dur", dict.fromkeys(UTTS, "0.500000"))
    config = exp / "config.yaml"
    config.write_text(config.read_text().replace("max_bad_share: 0.01", "max_bad_share: 0.15"))
    return exp, data


def test_renamed_folder_is_done_and_a_copy_that_names_the_originals_archive_is_not(
    system: tuple[Path, Path], tmp_path: Path
) -> None:
    extract(work_of(system))
    copy = tmp_path / "copy"
    shutil.copytree(system[0], copy)
    work = work_of((copy, system[1]))
    assert work.stale(verify=True) == ""
    scp, mark = work.scp, work.mark()
    scp.write_text(scp.read_text().replace("./", f"{system[0]}/embeddings/data/"))  # as older versions wrote it
    mark.write([work.ark, scp])
    assert work.stale() == f"{scp} names {system[0]}/embeddings/data/xvector.ark in place of {work.ark}"


def test_embeddings_of_another_data_dir_of_the_same_name_are_kept(system: tuple[Path, Path], tmp_path: Path) -> None:
    exp, data = system
    extract(work_of(system))
    kept = (exp / "embeddings" / "data" / "xvector.ark").read_bytes()
    other = tmp_path / "other" / "data"
    shutil.copytree(data, other)
    work = work_of((exp, other))
    assert not work.stale()  # the same features give the same embeddings
    for name in ("feats.scp", "utt2num_frames", "utt2spk"):
        write_table(other / name, dict(list(read_table(other / name).items())[1:]))
    work = work_of((exp, other))
    with pytest.raises(
        UserError, match=f"data holds the embeddings of {data}; rename {other}, give another <exp-dir>, or"
    ):
        extract(work)
    assert (exp / "embeddings" / "data" / "xvector.ark").read_bytes() == kept
    shutil.rmtree(data)  # it was moved
    extract(work)
    assert not work.stale()


@pytest.mark.parametrize("feats", ["online", "shard"])
def test_waveforms_need_no_arks(system: tuple[Path, Path], feats: Literal["online", "shard"]) -> None:
    exp, data = system
    rng, waves, recordings = np.random.default_rng(1), {}, []
    for number, utt in enumerate(UTTS):
        waves[utt] = data / f"{number}.wav"
        soundfile.write(waves[utt], rng.normal(0, 0.1, 8000 + 501 * number), 16000)
        recordings.append(Recording(utt, utt[:4], "wav", waves[utt].read_bytes(), 16000, 8000 + 501 * number))
    write_shard(data / "1.tar", recordings)
    (data / "shard.list").write_text(f"{data / '1.tar'}\n")
    write_table(data / "wav.scp", waves)
    for name in ("feats.scp", "utt2num_frames", "fbank.yaml"):
        (data / name).unlink()
    work = Extraction(exp, data, exp / "embeddings" / feats, feats=feats)
    extract(work)
    assert not work.stale()
    found, encoder = read_vectors(work.scp), load_encoder(exp)
    fbank = Fbank(encoder.config.dataset_args.fbank_args)
    assert found.ids == UTTS
    for utt, path in waves.items():
        waveform, _ = soundfile.read(path, dtype="float32")
        expected = encoder.embed(fbank(torch.from_numpy(waveform)[None])[0])
        np.testing.assert_allclose(found.matrix[found.index[utt]], expected, atol=1e-5)
    if feats == "online":
        write_table(data / "wav.scp", {**waves, UTTS[0]: waves[UTTS[1]]})
    else:
        write_shard(data / "1.tar", recordings[::-1])
    other = Extraction(exp, data, work.out_dir, feats=feats)
    assert other.stale()


@pytest.mark.parametrize("feats", ["ark", "online"])
def test_the_vad_drops_frames_after_the_mean(tmp_path: Path, feats: Literal["ark", "online"]) -> None:
    data = make_vad_data(tmp_path / "data")
    exp, _ = make_system(tmp_path / "system", dataset_args={"vad": True, "fbank_args": {"num_mel_bins": MELS}})
    args = read_config(exp).dataset_args
    for parts in (
        FbankParts(data_dir=data, ark_dir=tmp_path / "ark", system=read_config(exp)),
        VadParts(data_dir=data, ark_dir=tmp_path / "ark", config=args.fbank_args, vad=args.vad_args.model_dump()),
    ):
        parts.begin()
        parts.run(1)
        parts.finish()
    work = Extraction(exp, data, exp / "embeddings" / "data", feats=feats)
    extract(work)
    found, encoder, fbank = read_vectors(work.scp), load_encoder(exp), Fbank(args.fbank_args)
    for utt, path in read_table(data / "wav.scp").items():
        waveform, _ = soundfile.read(path, dtype="float32")
        frames = fbank(torch.from_numpy(waveform)[None])[0]
        kept = (frames - frames.mean(0))[torch.from_numpy(find_voiced(waveform, args))]
        np.testing.assert_allclose(found.matrix[found.index[utt]], encoder.embed(kept, centered=True), atol=2e-3)
    soundfile.write(data / "1.wav", np.zeros(17600), 16000)
    if feats == "online":
        other = dataclasses.replace(work, out_dir=tmp_path / "other")
        with pytest.raises(UserError, match=r"spk0/1\.wav: 0 frames of speech by the VAD"):
            extract(other)
    else:
        (data / "vad.scp").unlink()
        with pytest.raises(UserError, match=r"vad\.scp does not exist; make it with steps/compute_vad_decision\.sh"):
            extract(dataclasses.replace(work))


@pytest.mark.slow
@pytest.mark.parametrize("num_parts", [1, 3, 7])
def test_utterance_that_can_not_be_read_is_left_out_where_that_is_wanted(
    waves: tuple[Path, Path], num_parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    whole = Extraction(*waves, waves[0] / "embeddings" / "data", feats="online", skip_bad=True)
    extract(whole, num_parts)
    assert not whole.bad_list.exists()
    assert not dataclasses.replace(whole, skip_bad=False).stale(verify=True)  # nothing was left out
    before = read_vectors(whole.scp)
    soundfile.write(waves[1] / "4.wav", np.zeros(1000), 16000)
    strict, work = (Extraction(*waves, whole.out_dir, feats="online", skip_bad=skip) for skip in (False, True))
    with pytest.raises(UserError, match=f"^{UTTS[4]}: .*4.wav"):
        extract(strict, num_parts)
    extract(work, num_parts)
    found = read_vectors(work.scp)
    assert found.ids == [utt for utt in UTTS if utt != UTTS[4]]
    assert np.array_equal(found.matrix, before.matrix[[before.index[utt] for utt in found.ids]])
    assert "4.wav" in read_table(work.bad_list)[UTTS[4]] and len(read_table(work.bad_list)) == 1
    assert not work.stale(verify=True) and strict.stale()
    assert work.begin() == 0
    assert f"{work.bad_list}: could not be read, and are left out" in caplog.text
    work.bad_list.unlink()
    assert work.stale()


def test_utterances_that_can_not_be_read_in_several_parts_are_counted_together(waves: tuple[Path, Path]) -> None:
    work = Extraction(*waves, waves[0] / "embeddings" / "data", feats="online", skip_bad=True)
    for number in (0, 6):
        soundfile.write(waves[1] / f"{number}.wav", np.zeros(1000), 16000)
    with pytest.raises(UserError, match=r"2 of 7 utterances cannot be read, more than max_bad_share 0.15 allows"):
        extract(work, 2)
    assert not work.scp.exists()
    with pytest.raises(UserError, match=r"2 of 7 utterances cannot be read"):
        work.run(1)


@pytest.mark.slow
def test_of_too_many_that_could_not_be_read_those_mended_since_are_read(waves: tuple[Path, Path]) -> None:
    work = Extraction(*waves, waves[0] / "embeddings" / "data", feats="online", skip_bad=True)
    extract(work)
    before = work.ark.read_bytes()
    sound = {number: (waves[1] / f"{number}.wav").read_bytes() for number in (0, 6)}
    for number in sound:
        soundfile.write(waves[1] / f"{number}.wav", np.zeros(1000), 16000)
    with pytest.raises(UserError, match=r"2 of 7 utterances cannot be read"):
        extract(work)
    for number, content in sound.items():
        (waves[1] / f"{number}.wav").write_bytes(content)
    extract(work)
    assert work.ark.read_bytes() == before


@pytest.mark.slow
def test_number_of_parts_changes_no_bit(system: tuple[Path, Path]) -> None:
    work = work_of(system, max_frames=40)
    arks = [extract(work, num_parts) for num_parts in (1, 3, len(UTTS))]
    assert arks[0] == arks[1] == arks[2]


@pytest.mark.parametrize("change", ["model", "features", "option", "config", "front-end", "nothing"])
def test_changed_model_features_or_option_is_noticed(system: tuple[Path, Path], change: str) -> None:
    exp, data = system
    before = extract(work_of(system))
    max_frames = 0
    if change == "model":
        make_model(exp / "models" / "avg_model.pt", seed=1)
    elif change == "features":
        make_feats(data, seed=1)
    elif change == "config":
        config = exp / "config.yaml"
        config.write_text(config.read_text().replace("cmvn: true", "cmvn: false"))
    elif change == "front-end":
        (data / "fbank.yaml").write_text(f"num_mel_bins: {MELS}\nwindow: hamming\ndither: 1.0\n")
    elif change == "option":
        max_frames = 25
    work = work_of(system, max_frames=max_frames)
    assert bool(work.stale()) == (change != "nothing")
    assert (extract(work) == before) == (change in ("nothing", "front-end"))


def test_whole_parts_are_kept_and_damaged_or_foreign_ones_are_not(system: tuple[Path, Path]) -> None:
    expected = extract(work_of(system), 1)
    shutil.rmtree(system[0] / "embeddings")
    work = split(work_of(system), 3)
    work.run(1)
    work.run(2)
    split(work, 2).run(1)
    whole, damaged = work.part_file(1, "ark"), work.part_file(2, "ark")
    before = whole.stat().st_mtime_ns
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert work.begin(verify=True) == 3
    assert whole.exists() and not damaged.exists() and not split(work, 2).part_file(1, "ark").exists()
    work.run(1)
    assert whole.stat().st_mtime_ns == before
    assert extract(work, 3) == expected
    assert not work.folder.exists()


@pytest.mark.parametrize("spoil", ["missing", "other weights"])
def test_join_refuses_a_part_that_is_missing_or_of_other_weights(system: tuple[Path, Path], spoil: str) -> None:
    work = split(work_of(system), 2)
    work.run(1)
    work.run(2)
    if spoil == "missing":
        work.part_file(2, "ark").unlink()
    else:
        make_model(system[0] / "models" / "avg_model.pt", seed=1)
    with pytest.raises(UserError, match=r"part . of 2 of .*; run the same command again"):
        split(work_of(system), 2).finish()
    assert not work.scp.exists() and not work.ark.exists()


def test_missing_feature_ark_is_refused(system: tuple[Path, Path]) -> None:
    (system[1] / "fbank.ark").unlink()
    with pytest.raises(UserError, match=r"fbank.ark does not exist"):
        work_of(system).stale()


def test_frames_other_than_those_of_utt2num_frames_are_refused(system: tuple[Path, Path]) -> None:
    table = read_table(system[1] / "utt2num_frames")
    write_table(system[1] / "utt2num_frames", {**table, UTTS[2]: "31"})
    with pytest.raises(
        UserError, match=f"utt2num_frames: {UTTS[2]} has 31 frames there, {table[UTTS[2]]} in its archive"
    ):
        work_of(system).run(1)


def test_features_of_another_front_end_are_refused(system: tuple[Path, Path]) -> None:
    path = system[1] / "fbank.yaml"
    path.write_text(path.read_text().replace("hamming", "povey"))
    message = "fbank.yaml: window is povey, but hamming in "
    with pytest.raises(UserError, match=message):
        work_of(system).begin()


def test_features_of_unknown_front_end_are_taken_with_a_warning(
    system: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (system[1] / "fbank.yaml").unlink()
    work_of(system).check()
    assert "fbank.yaml does not exist: cannot check" in caplog.text


def test_checkpoint_of_another_model_is_refused(system: tuple[Path, Path]) -> None:
    make_model(system[0] / "models" / "avg_model.pt", embed_dim=9)
    with pytest.raises(UserError, match=r"avg_model.pt: not a checkpoint of this ResNet: "):
        work_of(system).run(1)


def test_stage_run_before_the_one_it_needs_is_refused(system: tuple[Path, Path]) -> None:
    exp, data = system
    (data / "feats.scp").rename(data / "feats.old")
    with pytest.raises(UserError, match=r"feats.scp does not exist; make it with steps/make_fbank.sh \(stage 2\)"):
        work_of(system).stale()
    (data / "feats.old").rename(data / "feats.scp")
    (exp / "models" / "avg_model.pt").unlink()
    with pytest.raises(UserError, match=r"does not exist; train the system \(stage 3\)"):
        work_of(system).stale()
    (exp / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config.yaml does not exist; train the system first \(stage 3\)"):
        work_of(system).stale()


def test_mark_tells_the_model(system: tuple[Path, Path]) -> None:
    work = work_of(system)
    extract(work)
    mark = json.loads((work.out_dir / ".done").read_text())
    encoder = load_encoder(system[0])
    assert mark["options"]["model_sha256"] == encoder.sha256
    assert mark["options"]["fingerprint"] == encoder.fingerprint
