"""Extraction from a data dir of random features with a random model: whole, resumed, and refused.

The script itself runs in some of the tests; it starts Python five times, so most call what its parts call.
"""

import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import torch

from steps.extract_embeddings import begin
from sv.audio.features import Fbank
from sv.audio.tar_shards import Recording, write_shard
from sv.config import parse_config, save_config
from sv.embeddings.encoder import load_encoder
from sv.embeddings.extraction import check_inputs, extract_part
from sv.embeddings.parts import Extraction, clear, join
from sv.errors import UserError
from sv.io import ArkWriter, read_matrix, read_table, read_vectors, write_table
from sv.jobs.gpus import choose_device
from sv.models import build_model

Run = Callable[..., subprocess.CompletedProcess[str]]

MELS = 16
UTTS = [f"spk{i % 3}/v/{i:05d}.wav" for i in range(7)]
UTTS.sort()
ARGS = {"feat_dim": MELS, "embed_dim": 8}


def make_feats(data: Path, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    data.mkdir(parents=True, exist_ok=True)
    lengths = {utt: int(rng.choice([30, 30, 45, 60])) for utt in UTTS}
    with ArkWriter(data / "fbank.ark", data / "feats.scp", compress=True) as writer:
        for utt in UTTS:
            writer.write(utt, rng.normal(10, 2, (lengths[utt], MELS)).astype(np.float32))
    write_table(data / "utt2num_frames", lengths)
    write_table(data / "utt2spk", {utt: utt.split("/")[0] for utt in UTTS})
    write_table(data / "spk2utt", {f"spk{i}": " ".join(u for u in UTTS if u.startswith(f"spk{i}")) for i in range(3)})
    (data / "fbank.yaml").write_text(f"num_mel_bins: {MELS}\nwindow: hamming\ndither: 0.0\n")


def make_model(path: Path, seed: int = 0, **args: int) -> None:
    torch.manual_seed(seed)
    state = build_model("resnet_small", {**ARGS, **args}).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**state, "projection.weight": torch.zeros(3, 8)}, path)


@pytest.fixture
def system(tmp_path: Path) -> tuple[Path, Path]:
    """An experiment folder and a data dir."""
    exp, data = tmp_path / "exp", tmp_path / "data"
    tree = {"model": "resnet_small", "model_args": ARGS, "dataset_args": {"fbank_args": {"num_mel_bins": MELS}}}
    exp.mkdir()
    save_config(parse_config(tree, "test"), exp / "config.yaml")
    make_model(exp / "models" / "avg_model.pt")
    make_feats(data)
    return exp, data


def work_of(system: tuple[Path, Path], max_frames: int = 0) -> Extraction:
    return Extraction(*system, system[0] / "embeddings" / "data", max_frames=max_frames)


def extract(work: Extraction, num_parts: int = 2) -> bytes:
    """What the script does; the resulting archive."""
    check_inputs(work)
    clear(work)
    for part in range(1, num_parts + 1):
        extract_part(work, part, num_parts)
    assert join(work, num_parts) == len(UTTS)
    return work.ark.read_bytes()


def run_script(run: Run, system: tuple[Path, Path], *options: object) -> subprocess.CompletedProcess[str]:
    return run("steps/extract_embeddings.sh", "--nj", 2, *options, *system)


@pytest.mark.slow
def test_embeddings_are_those_of_the_model_utterance_by_utterance(run: Run, system: tuple[Path, Path]) -> None:
    exp, data = system
    result = run_script(run, system)
    assert result.returncode == 0, result.stderr
    out = exp / "embeddings" / "data"
    found = read_vectors(out / "xvector.scp")
    assert found.ids == UTTS
    model = build_model("resnet_small", ARGS).eval()
    state = torch.load(exp / "models" / "avg_model.pt", weights_only=True)
    model.load_state_dict({key: value for key, value in state.items() if not key.startswith("projection")})
    for utt, location in read_table(data / "feats.scp").items():
        feats = torch.from_numpy(read_matrix(location))
        with torch.no_grad():
            expected = model((feats - feats.mean(0))[None])[0]
        np.testing.assert_allclose(found.matrix[found.index[utt]], expected, atol=1e-5)
    assert sorted(path.name for path in out.iterdir()) == [".done", ".lock", "log", "xvector.ark", "xvector.scp"]

    before = (out / "xvector.ark").stat()
    again = run_script(run, system, "--nj", 3)
    assert again.returncode == 0 and "xvector.scp is there already" in again.stderr
    assert (out / "xvector.ark").stat() == before


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
    assert not work.mark().stale()
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
    assert other.mark().stale()


@pytest.fixture
def waves(system: tuple[Path, Path]) -> tuple[Path, Path]:
    """The same with waveforms of half a second; one of the seven may be bad."""
    exp, data = system
    for number in range(len(UTTS)):
        soundfile.write(data / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 8000), 16000)
    write_table(data / "wav.scp", {utt: data / f"{number}.wav" for number, utt in enumerate(UTTS)})
    write_table(data / "utt2dur", dict.fromkeys(UTTS, "0.500000"))
    config = exp / "config.yaml"
    config.write_text(config.read_text().replace("max_bad_share: 0.01", "max_bad_share: 0.15"))
    return exp, data


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
    clear(work)
    for part in range(1, num_parts + 1):
        extract_part(work, part, num_parts)
        extract_part(work, part, num_parts)  # again: it is there
    assert join(work, num_parts) == len(UTTS) - 1
    found = read_vectors(work.scp)
    assert found.ids == [utt for utt in UTTS if utt != UTTS[4]]
    assert np.array_equal(found.matrix, before.matrix[[before.index[utt] for utt in found.ids]])
    assert "4.wav" in read_table(work.bad_list)[UTTS[4]] and len(read_table(work.bad_list)) == 1
    assert not work.stale(verify=True) and strict.stale()
    assert begin(work, num_parts, "none") == (0, 0)
    assert f"{work.bad_list}: could not be read, and are left out" in caplog.text
    work.bad_list.unlink()
    assert work.stale()


def test_utterances_that_can_not_be_read_in_several_parts_are_counted_together(waves: tuple[Path, Path]) -> None:
    work = Extraction(*waves, waves[0] / "embeddings" / "data", feats="online", skip_bad=True)
    for number in (0, 6):
        soundfile.write(waves[1] / f"{number}.wav", np.zeros(1000), 16000)
    extract_part(work, 1, 2)
    extract_part(work, 2, 2)
    with pytest.raises(UserError, match=r"2 of 7 utterances can not be read, more than max_bad_share 0.15 allows"):
        join(work, 2)
    assert not work.scp.exists()
    with pytest.raises(UserError, match=r"2 of 7 utterances can not be read"):
        extract_part(work, 1, 1)


def test_of_too_many_that_could_not_be_read_those_mended_since_are_read(waves: tuple[Path, Path]) -> None:
    work = Extraction(*waves, waves[0] / "embeddings" / "data", feats="online", skip_bad=True)
    extract(work)
    before = work.ark.read_bytes()
    sound = {number: (waves[1] / f"{number}.wav").read_bytes() for number in (0, 6)}
    for number in sound:
        soundfile.write(waves[1] / f"{number}.wav", np.zeros(1000), 16000)
    with pytest.raises(UserError, match=r"2 of 7 utterances can not be read"):
        extract(work)
    for number, content in sound.items():
        (waves[1] / f"{number}.wav").write_bytes(content)
    extract(work)
    assert work.ark.read_bytes() == before


def test_number_of_parts_changes_no_bit(system: tuple[Path, Path]) -> None:
    work = work_of(system, max_frames=40)
    arks = [extract(work, num_parts) for num_parts in (1, 3, len(UTTS))]
    assert arks[0] == arks[1] == arks[2]


def test_long_utterance_is_the_mean_of_its_chunks(system: tuple[Path, Path]) -> None:
    encoder = load_encoder(system[0])
    feats = torch.randn(45, MELS)
    centered = feats - feats.mean(0)
    with torch.no_grad():
        chunks = torch.cat([encoder.model(chunk[None]) for chunk in (centered[:23], centered[23:])])
    torch.testing.assert_close(encoder.embed(feats, max_frames=40), chunks.mean(0), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(encoder.embed(feats, max_frames=45), encoder.embed(feats), atol=0, rtol=0)


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
    assert bool(work.mark().stale()) == (change != "nothing")
    assert (extract(work) == before) == (change in ("nothing", "front-end"))


def test_whole_parts_are_kept_and_damaged_or_foreign_ones_are_not(system: tuple[Path, Path]) -> None:
    expected = extract(work_of(system), 1)
    shutil.rmtree(system[0] / "embeddings")
    work = work_of(system)
    extract_part(work, 1, 3)
    extract_part(work, 2, 3)
    extract_part(work, 1, 2)  # of another split
    (whole, _), (damaged, _) = work.part_files(1, 3), work.part_files(2, 3)
    before = whole.stat().st_mtime_ns
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert extract(work, 3) == expected
    assert not work.parts_dir.exists()
    extract_part(work, 1, 3)
    before = whole.stat().st_mtime_ns
    extract_part(work, 1, 3)
    assert whole.stat().st_mtime_ns == before


@pytest.mark.parametrize("spoil", ["missing", "other weights"])
def test_join_refuses_a_part_that_is_missing_or_of_other_weights(system: tuple[Path, Path], spoil: str) -> None:
    work = work_of(system)
    extract_part(work, 1, 2)
    extract_part(work, 2, 2)
    if spoil == "missing":
        work.part_files(2, 2)[0].unlink()
    else:
        make_model(system[0] / "models" / "avg_model.pt", seed=1)
    with pytest.raises(UserError, match=r"part . of 2 of .*; run stage 4 again"):
        join(work_of(system), 2)
    assert not work.scp.exists() and not work.ark.exists()


@pytest.mark.slow
def test_killed_anywhere_and_run_again_gives_the_same(run: Run, system: tuple[Path, Path], root: Path) -> None:
    expected = extract(work_of(system))
    shutil.rmtree(system[0] / "embeddings")
    command = ["steps/extract_embeddings.sh", "--nj", "2", *map(str, system)]
    for seconds in (1, 3, 5, 7):
        process = subprocess.Popen(command, cwd=root, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    result = run_script(run, system)
    assert result.returncode == 0, result.stderr
    assert (system[0] / "embeddings" / "data" / "xvector.ark").read_bytes() == expected


@pytest.mark.slow
def test_failed_part_fails_the_stage_and_shows_its_log(run: Run, system: tuple[Path, Path]) -> None:
    exp, data = system
    with ArkWriter(data / "huge.ark", data / "huge.scp") as writer:
        writer.write("x", np.linspace(-3e38, 3e38, 30 * MELS, dtype=np.float32).reshape(30, MELS))
    write_table(data / "feats.scp", {**read_table(data / "feats.scp"), UTTS[-1]: read_table(data / "huge.scp")["x"]})
    write_table(data / "utt2num_frames", {**read_table(data / "utt2num_frames"), UTTS[-1]: 30})
    result = run_script(run, system)
    assert result.returncode != 0
    assert "1 of 2 jobs failed, the first is job 2" in result.stderr
    assert (
        f"extract_embeddings.py: error: {data}: {UTTS[-1]}: the embedding has NaN or infinite values" in result.stderr
    )
    assert not (exp / "embeddings" / "data" / "xvector.scp").exists()


@pytest.mark.slow
def test_bad_input_is_one_line_before_any_job_and_leaves_earlier_embeddings(
    run: Run, system: tuple[Path, Path]
) -> None:
    before = extract(work_of(system))
    ark = system[1] / "fbank.ark"
    ark.write_bytes(ark.read_bytes()[:-100])
    result = run_script(run, system)
    assert result.returncode != 0
    (error,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert error.startswith("extract_embeddings.py: error: ") and "it is truncated, make it again" in error
    assert "Traceback" not in result.stderr
    work = work_of(system)
    assert work.ark.read_bytes() == before and not (work.out_dir / "log").exists()


def test_missing_feature_ark_is_refused(system: tuple[Path, Path]) -> None:
    (system[1] / "fbank.ark").unlink()
    with pytest.raises(UserError, match=r"fbank.ark does not exist"):
        work_of(system).mark().stale()


def test_frames_other_than_those_of_utt2num_frames_are_refused(system: tuple[Path, Path]) -> None:
    table = read_table(system[1] / "utt2num_frames")
    write_table(system[1] / "utt2num_frames", {**table, UTTS[2]: "31"})
    with pytest.raises(
        UserError, match=f"utt2num_frames: {UTTS[2]} has 31 frames there, {table[UTTS[2]]} in its archive"
    ):
        extract_part(work_of(system), 1, 1)


def test_features_of_another_front_end_are_refused(system: tuple[Path, Path]) -> None:
    path = system[1] / "fbank.yaml"
    path.write_text(path.read_text().replace("hamming", "povey"))
    message = "features with window povey, but the model was trained with window hamming; make them again"
    with pytest.raises(UserError, match=message):
        check_inputs(work_of(system))


def test_features_of_unknown_front_end_are_taken_with_a_warning(
    system: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (system[1] / "fbank.yaml").unlink()
    check_inputs(work_of(system))
    assert "fbank.yaml does not exist: no way to tell" in caplog.text


def test_checkpoint_of_another_model_is_refused(system: tuple[Path, Path]) -> None:
    make_model(system[0] / "models" / "avg_model.pt", embed_dim=9)
    with pytest.raises(UserError, match=r"avg_model.pt: not a checkpoint of this ResNet: "):
        check_inputs(work_of(system))


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_truncated_model_file_is_refused(system: tuple[Path, Path], size: int) -> None:
    path = system[0] / "models" / "avg_model.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"avg_model.pt is not a model file, or is truncated"):
        load_encoder(system[0])


def test_model_file_with_another_checksum_is_refused(system: tuple[Path, Path]) -> None:
    path = system[0] / "models" / "avg_model.pt"
    path.with_name("avg_model.pt.sha256").write_text(f"{'0' * 64}  avg_model.pt\n")
    with pytest.raises(UserError, match="is damaged: its checksum is not that of"):
        load_encoder(system[0])


def test_model_that_takes_other_mels_than_the_fbank_makes_is_refused(system: tuple[Path, Path]) -> None:
    config = system[0] / "config.yaml"
    config.write_text(config.read_text().replace("num_mel_bins: 16", "num_mel_bins: 80"))
    with pytest.raises(UserError, match="the model takes 16 mels, the fbank makes 80"):
        load_encoder(system[0])


def test_stage_run_before_the_one_it_needs_is_refused(system: tuple[Path, Path]) -> None:
    exp, data = system
    (data / "feats.scp").rename(data / "feats.old")
    with pytest.raises(UserError, match=r"feats.scp does not exist; make it with steps/make_fbank.sh \(stage 2\)"):
        work_of(system).mark().stale()
    (data / "feats.old").rename(data / "feats.scp")
    (exp / "models" / "avg_model.pt").unlink()
    with pytest.raises(UserError, match=r"does not exist; train \(stage 3\) and average \(stage 4\) first"):
        work_of(system).mark().stale()
    (exp / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config.yaml does not exist; train the system first \(stage 3\)"):
        work_of(system).mark().stale()


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("none", 1) == choose_device("auto", 3) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", 3) == "cuda:0"
    assert [choose_device("[0,1]", job) for job in (1, 2, 3)] == ["cuda:0", "cuda:1", "cuda:0"]
    with pytest.raises(UserError, match="no GPU 2 here, torch sees 2"):
        choose_device("0,2", 2)
    with pytest.raises(UserError, match="expected numbers, as in 0,1; or auto, or none"):
        choose_device("all", 1)


def test_jobs_know_how_many_gpus_they_share(system: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    work = work_of(system)
    assert [begin(work, 4, gpus) for gpus in ("none", "auto", "0,1")] == [(4, 0), (4, 1), (4, 2)]
    extract(work)
    assert begin(work, 4, "auto") == (0, 0)


def test_mark_tells_the_model(system: tuple[Path, Path]) -> None:
    work = work_of(system)
    extract(work)
    mark = json.loads((work.out_dir / ".done").read_text())
    assert mark["options"]["model_sha256"] == load_encoder(system[0]).sha256


def test_wrong_calls(run: Run) -> None:
    assert run("steps/extract_embeddings.sh").returncode == 2
    result = run("steps/extract_embeddings.sh", "--n-jobs", 2, "exp", "data")
    assert result.returncode == 2 and "unknown option --n-jobs" in result.stderr
    assert run("steps/extract_embeddings.sh", "--help").returncode == 0
