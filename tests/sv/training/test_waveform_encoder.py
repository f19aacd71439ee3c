"""A small WavLM from a file of weights, through training, resumption, extraction, and what refuses it."""

import logging
import re

import numpy as np
import pytest
import soundfile
import torch

from sv.config import load_config, parse_config
from sv.data.fbank_parts import FbankParts
from sv.embeddings.encoder import WaveformEncoder, load_encoder
from sv.embeddings.parts import Extraction
from sv.errors import UserError
from sv.export.files import write_file
from sv.export.onnx_files import network_model
from sv.io import read_matrix, read_scp, read_vectors
from sv.models import build_model
from sv.system import check_start, make_fine_tuning, resolve
from sv.training.averaging import average
from sv.training.checkpoint import load_tensors
from sv.training.distributed import World
from sv.training.run import train
from tests.sv.training.recordings import write_recordings
from tests.waiting import wait_until

WORLD = World(0, 1, torch.device("cpu"))
UTTS = 4
SIZES = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 24, "conv_channels": 8, "embed_dim": 16}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A data dir of WAV files without features."""
    folder = tmp_path_factory.mktemp("speech")
    write_recordings(folder, UTTS, 0.5, 0.8)
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with the tensors of a small WavLM."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "wavlm.pth"
    torch.save(build_model("WavLM_Base_MFA", SIZES).wavlm.state_dict(), path)
    return path


@pytest.fixture
def config_of(weights):
    """A resolved configuration of a training on a WavLM; any key may be given."""

    def make(**changes):
        tree = {
            "model": "WavLM_Base_MFA",
            "model_args": {**SIZES, "adapter_dim": 8},
            "pretrained": str(weights),
            "num_epochs": 2,
            "num_avg": 1,
            "margin_update": {"increase_start_epoch": 1, "fix_start_epoch": 2},
            "dataset_args": {"num_frms": 30, "min_num_frames": 10, "aug_prob": 0.0},
            "dataloader_args": {"batch_size": 4, "num_workers": 1},
            "optimizer": "AdamW",
            "scheduler_args": {"initial_lr": 0.01, "final_lr": 0.01, "warm_up_epoch": 0},
            "heldout_speakers": 2,
            "eval_epoch_interval": 1,
            "train_feats": "online",
            "tensorboard": False,
        }
        return resolve(parse_config({**tree, **changes}, "test"), "test")

    return make


def wavlm_of(path):
    return {key: value for key, value in load_tensors(path).items() if key.startswith("wavlm.")}


def test_the_encoder_brings_its_front_end(config_of):
    config = config_of(dataset_args={"fbank_args": {"num_mel_bins": 40, "dither": 1.0}, "cmvn": True})
    fbank = config.dataset_args.fbank_args
    assert (fbank.kind, fbank.num_mel_bins, fbank.dither, config.dataset_args.cmvn) == ("waveform", 160, 0.0, False)
    assert config.model_args["feat_dim"] == 160
    assert resolve(config, "test") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fbank_args": {"sample_rate": 8000}},
            r"test: WavLM_Base_MFA takes waveforms of 16000 Hz, but dataset_args.fbank_args.sample_rate is 8000; con",
        ),
        (
            {"spec_aug": True},
            r"test: dataset_args.spec_aug hides mels, and WavLM_Base_MFA takes waveforms; leave it out",
        ),
        ({"vad": True}, r"test: dataset_args.vad takes frames of fbank_args.kind kaldi; leave out one of the two"),
    ],
)
def test_data_that_it_cannot_take_are_refused(config_of, changes, message):
    with pytest.raises(UserError, match=message):
        config_of(dataset_args=changes)


def test_a_start_without_weights_says_which_file_to_fetch(config_of, weights, tmp_path):
    check_start(config_of())
    check_start(config_of(pretrained="random"))
    check_start(config_of(pretrained="", model_init=str(weights)))
    for changes, message in (
        ({"pretrained": ""}, r"^WavLM_Base_MFA starts from weights in a file: fetch https://\S+wavlm_base_plus.pth .*"),
        (
            {"pretrained": "no.pth"},
            r"^--pretrained no.pth: there is no such file; fetch https://\S+base_plus.pth \(or ",
        ),
        ({"model": "WavLM_Large_MFA", "pretrained": ""}, r"fetch https://download\S+wavlm_large.pth \(or .*-large\)"),
        (
            {"model": "resnet_small", "model_args": {}},
            r"--pretrained .*: resnet_small is built on no other network; leave",
        ),
    ):
        with pytest.raises(UserError, match=message):
            check_start(config_of(**changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tensors", r"wavlm.pth is no checkpoint of torch.save: it begins with b'no tensors'; fetch it again"),
        (logging.getLogger, r"wavlm.pth holds a Python object, logging.getLogger, which may run code and is not read"),
        ({"a": 1}, r"wavlm.pth: holds no state dict"),
        ({"encoder.layer_norm.bias": torch.zeros(1)}, r"wavlm.pth: not a WavLM: it has no tensor feature_extractor"),
    ],
)
def test_a_file_that_is_no_wavlm_is_named(config_of, speech, tmp_path, content, message):
    path = tmp_path / "wavlm.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=message):
        train(config_of(pretrained=str(path)), speech, tmp_path / "exp", WORLD)
    assert not (tmp_path / "exp/config.yaml").exists() and not (tmp_path / "exp/models").exists()


@pytest.mark.slow
def test_from_weights_through_training_and_extraction_to_fine_tuning(config_of, speech, weights, tmp_path, caplog):
    caplog.set_level("INFO")
    exp = tmp_path / "exp"
    train(config_of(precision="bf16"), speech, exp, WORLD)
    assert "tensors of WavLM loaded" in caplog.text and len(re.findall(r": held-out EER \d", caplog.text)) == 2
    given, start, end = torch.load(weights), wavlm_of(exp / "models/model_0.pt"), wavlm_of(exp / "models/model_2.pt")
    assert all(torch.equal(value, given[key.removeprefix("wavlm.")]) for key, value in start.items())
    assert len(start) == len(given) and not any(torch.equal(value, start[key]) for key, value in end.items())

    average(exp)
    work = Extraction(exp, speech, exp / "embeddings/all", feats="online")
    work.begin()
    work.run(1)
    work.finish()
    found = read_vectors(work.scp)
    encoder = WaveformEncoder(exp, "none")
    for utt, vector in zip(found.ids[:3], found.matrix[:3], strict=True):
        waveform = soundfile.read(speech / f"{utt}.wav", dtype="float32")[0]
        np.testing.assert_allclose(encoder.embed(waveform), vector, rtol=1e-5, atol=1e-6)
    frames = 0.1 * torch.randn(3, 50, 160)
    alone = torch.stack([encoder.network.embed(row) for row in frames])
    torch.testing.assert_close(encoder.network.embed(frames), alone, rtol=1e-4, atol=1e-5)

    for form in ("onnx", "torchscript"):
        with pytest.raises(UserError, match=r"^WavLM_Base_MFA takes waveforms and is not exported, only .*verify.py"):
            write_file(exp, tmp_path / "model", form, "feats")
    with pytest.raises(UserError, match="takes waveforms and is not exported"):
        network_model(encoder.network, 0.9)
    (tmp_path / "lm.yaml").write_text("do_lm: true\nnum_epochs: 1\n")
    tuned = make_fine_tuning(tmp_path / "lm.yaml", exp)
    assert tuned.pretrained == ""
    train(tuned, speech, tmp_path / "tuned", WORLD)
    begun = wavlm_of(tmp_path / "tuned/models/model_0.pt")
    assert all(torch.equal(value, begun[key]) for key, value in wavlm_of(exp / "models/avg_model.pt").items())
    assert load_encoder(tmp_path / "tuned", tmp_path / "tuned/models/model_1.pt").model.large is False


def test_arks_hold_the_waveform_in_16_bits_and_can_be_trained_on(config_of, speech, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("wav.scp", "utt2spk"):
        (data / name).write_bytes((speech / name).read_bytes())
    config = config_of(train_feats="ark", num_epochs=1, margin_update={"increase_type": "fixed"})
    parts = FbankParts(data_dir=data, ark_dir=tmp_path / "fbank", system=config, dither=True)
    parts.begin()
    parts.run(1)
    parts.finish()
    utt, where = next(iter(read_scp(data / "feats.scp").items()))
    stored, waveform = read_matrix(where), soundfile.read(speech / f"{utt}.wav", dtype="float32")[0]
    assert stored.shape == (len(waveform) // 160, 160)
    assert np.abs(stored.ravel() - waveform[: stored.size]).max() <= np.ptp(waveform) / 65535 / 2 * 1.01
    train(config, data, tmp_path / "exp", WORLD)
    assert (tmp_path / "exp/models/model_1.pt").is_file()


@pytest.mark.slow
def test_a_training_killed_goes_on_to_the_same_weights_without_the_file(
    config_of, start_training, speech, weights, tmp_path
):
    changes = {"save_minutes": 1e-9, "num_epochs": 6, "model_args": {**SIZES, "lora_rank": 2}}
    torch.save(torch.load(weights), file := tmp_path / "copy.pth")
    config = config_of(pretrained=str(file), **changes)
    train(config, speech, tmp_path / "whole", WORLD)
    process = start_training(config, speech, tmp_path / "killed")
    checkpoints = tmp_path / "killed/checkpoints"
    wait_until(lambda: list(checkpoints.glob("step_0000000[6-9].pt")), process, pause=0.005)
    process.kill()
    process.join()
    assert not (tmp_path / "killed/models/model_6.pt").exists()
    file.unlink()
    train(config, speech, tmp_path / "killed", WORLD)
    for name in ("model_0.pt", "model_6.pt"):
        assert (tmp_path / "killed/models" / name).read_bytes() == (tmp_path / "whole/models" / name).read_bytes()
    own = {key for key in wavlm_of(tmp_path / "whole/models/model_0.pt") if "in_proj_weight.0." not in key}
    start, end = (wavlm_of(tmp_path / f"whole/models/model_{n}.pt") for n in (0, 6))
    assert {key for key in start if torch.equal(start[key], end[key])} == own  # only the updates were learnt
    assert load_config(tmp_path / "killed/config.yaml").model_args["lora_rank"] == 2


@pytest.mark.slow
def test_two_processes_train_a_wavlm_that_is_frozen_first(config_of, start_training, speech, tmp_path, worlds):
    tuning = {"frozen_epochs": 1, "encoder_lr": 0.1, "layer_decay": 0.9}
    sizes = {"model_args": {**SIZES, "adapter_dim": 8, "dropout": 0.0}, "heldout_speakers": 0, "save_epoch_interval": 1}
    one = config_of(fine_tuning=tuning, num_epochs=3, **sizes)
    args = {"batch_size": 2, "num_workers": 0}
    two = config_of(fine_tuning=tuning, num_epochs=3, dataloader_args=args, **sizes)
    processes = [start_training(one, speech, tmp_path / "one")]
    processes += [start_training(two, speech, tmp_path / "two", env=env) for env in worlds(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    for exp in ("one", "two"):
        start, frozen, end = (wavlm_of(tmp_path / exp / f"models/model_{n}.pt") for n in (0, 1, 3))
        assert all(torch.equal(value, start[key]) for key, value in frozen.items())
        assert not any(torch.equal(value, start[key]) for key, value in end.items())
