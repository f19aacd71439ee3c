"""WeSpeaker's configurations as ours: written out here as their recipes and their training write them."""

import copy
import math

import pytest
import torch
import yaml

from sv.config import save_config
from sv.embeddings.encoder import load_encoder
from sv.errors import UserError
from sv.losses import build_head
from sv.models import build_model
from sv.training.schedules import LearningRate
from sv.training.wespeaker_config import import_config

RESNET = """
exp_dir: exp/ResNet34-TSTP-emb256
gpus: "[0,1]"
num_avg: 10
enable_amp: False
seed: 42
num_epochs: 150
save_epoch_interval: 5
log_batch_interval: 100
dataloader_args: {batch_size: 128, num_workers: 16, pin_memory: False, prefetch_factor: 8, drop_last: True}
dataset_args:
  sample_num_per_epoch: 0
  shuffle: True
  shuffle_args: {shuffle_size: 2500}
  filter: True
  filter_args: {min_num_frames: 120, max_num_frames: 800}
  resample_rate: 8000
  speed_perturb: True
  num_frms: 200
  aug_prob: 0.6
  frontend: fbank
  fbank_args: {num_mel_bins: 80, frame_shift: 10, frame_length: 25, dither: 1.0}
  spec_aug: False
  spec_aug_args: {num_t_mask: 1, num_f_mask: 1, max_t: 10, max_f: 8, prob: 0.6}
model: ResNet34
model_init: null
model_args: {feat_dim: 80, embed_dim: 256, pooling_func: "TSTP", two_emb_layer: False}
projection_args: {project_type: "arc_margin", scale: 32.0, easy_margin: True}
margin_scheduler: MarginScheduler
margin_update:
  initial_margin: 0.0
  final_margin: 0.3
  increase_start_epoch: 20
  fix_start_epoch: 40
  update_margin: True
  increase_type: exp
loss: CrossEntropyLoss
loss_args: {}
optimizer: SGD
optimizer_args: {momentum: 0.9, nesterov: True, weight_decay: 0.0001}
scheduler: ExponentialDecrease
scheduler_args: {initial_lr: 0.1, final_lr: 5e-5, warm_up_epoch: 6, warm_from_zero: True}
"""
SPHEREFACE2 = {"project_type": "sphereface2", "scale": 30.0, "t": 3, "lanbuda": 0.6, "margin_type": "A"}
BY_TRAINING = {  # what their training adds before it writes exp/NAME/config.yaml
    "data_type": "raw",
    "train_data": "data/vox2_dev/raw.list",
    "train_label": "data/vox2_dev/utt2spk",
    "reverb_data": "data/rirs/lmdb",
    "noise_data": "data/musan/lmdb",
    "projection_args.embed_dim": 256,
    "projection_args.num_class": 17982,
    "projection_args.do_lm": False,
    "optimizer_args.lr": 0.1,
    "scheduler_args.num_epochs": 150,
    "scheduler_args.epoch_iter": 4266,
    "scheduler_args.scale_ratio": 4.0,
    "margin_update.epoch_iter": 4266,
}


def theirs(**changes):
    """Their ResNet34 configuration; a change of a dotted key, or None to take the key away."""
    tree = yaml.safe_load(RESNET)
    for name, value in changes.items():
        *blocks, key = name.split(".")
        block = tree
        for part in blocks:
            block = block[part]
        block[key] = copy.deepcopy(value)
        if value is None:
            del block[key]
    return tree


def imported(**changes):
    return import_config(theirs(**changes), "resnet.yaml")[0]


def test_every_key_of_their_recipe_keeps_its_meaning():
    config = imported()
    assert (config.model, config.model_args["embed_dim"], config.model_args["pooling_func"]) == (
        "ResNet34",
        256,
        "TSTP",
    )
    assert (config.loss, config.loss_args) == ("aam", {"scale": 32.0, "easy_margin": True})
    assert config.margin_update.model_dump() == {
        "initial_margin": 0.0,
        "final_margin": 0.3,
        "increase_start_epoch": 20,
        "fix_start_epoch": 40,
        "update_margin": True,
        "increase_type": "exp",
    }
    assert (config.seed, config.num_epochs, config.num_avg) == (42, 150, 10)
    assert (config.save_epoch_interval, config.log_batch_interval, config.precision) == (5, 100, "fp32")
    loader = config.dataloader_args
    assert (loader.batch_size, loader.num_workers, loader.prefetch_factor) == (128, 16, 8)
    data = config.dataset_args
    assert (data.num_frms, data.min_num_frames, data.aug_prob, data.speeds) == (200, 120, 0.6, [0.9, 1.1])
    assert (data.fbank_args.sample_rate, data.fbank_args.num_mel_bins, data.fbank_args.dither) == (8000, 80, 1.0)
    assert (data.spec_aug, data.spec_aug_args.max_t, data.cmvn) == (False, 10, True)
    assert config.optimizer_args.model_dump() == {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}
    scheduler = config.scheduler_args
    assert (scheduler.initial_lr, scheduler.final_lr, scheduler.warm_up_epoch) == (0.1, 5e-5, 6)
    assert (scheduler.warm_from_zero, scheduler.scale_with_batch) == (True, True)


def test_sphereface2_with_the_misspelt_lambda():
    config = imported(projection_args=SPHEREFACE2)
    assert config.loss == "sphereface2"
    wanted = {"scale": 30.0, "t": 3.0, "target_weight": 0.6, "margin_type": "A"}
    assert wanted.items() <= config.loss_args.items()
    assert config.loss_args["bias_init"] == "zero"
    with pytest.raises(UserError, match="lanbuda"):  # their word, in no configuration of ours
        build_head("sphereface2", 8, 4, {"lanbuda": 0.6})


@pytest.mark.parametrize(
    ("projection", "loss", "options"),
    [
        ({"project_type": "add_margin", "scale": 20.0, "easy_margin": False}, "am", {"scale": 20.0}),
        ({"project_type": "softmax", "scale": 32.0}, "softmax", {}),
        ({"project_type": "sphere"}, "sphere", {"angle_factor": 4}),
        (
            {"project_type": "arc_margin_intertopk_subcenter", "scale": 32.0, "K": 2, "mp": 0.05, "k_top": 7},
            "aam_intertopk_subcenter",
            {"scale": 32.0, "easy_margin": False, "num_subcenters": 2, "top_margin": 0.05, "top_k": 7},
        ),
    ],
)
def test_losses_and_their_options(projection, loss, options):
    config = imported(projection_args=projection)
    assert (config.loss, config.loss_args) == (loss, options)


def test_a_softmax_is_annealed_by_the_margin_schedule():
    config = imported(projection_args={"project_type": "sphere"}, **{"margin_update.epoch_iter": 500})
    update = config.margin_update
    assert (update.initial_margin, update.final_margin, update.increase_type) == (0.0, pytest.approx(1 / 6), "linear")
    assert (update.increase_start_epoch, update.fix_start_epoch) == (1, 5)  # 1,658 steps are four epochs of 500


def test_acoustic_dim_of_their_simam_resnets_is_feat_dim():
    args = {"acoustic_dim": 80, "embed_dim": 256, "in_planes": 64, "dropout": 0}
    config = imported(model="SimAM_ResNet34_ASP", model_args=args)
    assert config.model_args == {"feat_dim": 80, "embed_dim": 256, "in_planes": 64, "dropout": 0, "pooling_func": "ASP"}


def test_what_their_training_left_beside_the_model_is_read_too():
    config, found = import_config(theirs(**BY_TRAINING), "config.yaml")
    assert config == imported().model_copy(update={"train_feats": "online"})
    assert BY_TRAINING.keys() - {"data_type"} <= found.left_out.keys()
    assert "local/prepare_musan.py" in found.left_out["noise_data"]


def test_their_defaults_stay_where_a_key_is_missing():
    """Theirs, and torch's, which differ from ours."""
    missing = ("dataset_args.aug_prob", "scheduler_args.warm_from_zero", "optimizer_args")
    config = imported(**dict.fromkeys(missing))
    assert (config.dataset_args.aug_prob, config.scheduler_args.warm_from_zero) == (0.0, False)
    assert config.optimizer_args.model_dump() == {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert imported(optimizer="AdamW", optimizer_args=None).optimizer_args.weight_decay == 0.01


def test_large_margin_fine_tuning_leaves_the_penalty_out():
    projection = {"project_type": "arc_margin_intertopk_subcenter", "scale": 32.0, "K": 3, "mp": 0.06, "k_top": 5}
    final = {"margin_update.initial_margin": 0.5, "margin_update.final_margin": 0.5, "margin_update.fix_start_epoch": 1}
    config = imported(do_lm=True, projection_args=projection, **final, **{"margin_update.increase_start_epoch": 1})
    assert config.do_lm and config.loss_args["top_margin"] == 0.0
    assert config.margin_update.initial_margin == config.margin_update.final_margin == 0.5


def test_the_learning_rate_is_theirs():
    """Their 2 processes of 128, from the formula, at a step in the warm-up and one after it."""
    config, steps = imported(), 4266
    lr = LearningRate(config.scheduler, config.scheduler_args, steps, config.num_epochs, global_batch=256)
    for step, factor in ((1000, 4 * 1000 / (6 * steps)), (100_000, 4.0)):
        assert lr(step) == pytest.approx(factor * 0.1 * math.exp(step / (150 * steps) * math.log(5e-5 / 0.1)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "ResNet35"}, "model: ResNet35 is none of resnet_small, ResNet18"),
        ({"model_args.pooling_func": "XII"}, "XII"),
        (
            {"projection_args": {"project_type": "ham_margin"}},
            "project_type: ham_margin is none of softmax, add_margin",
        ),
        ({"projection_args.gamma": 2}, "projection_args.gamma: unknown"),
        ({"dataset_args.frontend": "s3prl"}, "frontend: s3prl is not fbank or tfmel, the only ones supported"),
        ({"dataset_args.speed_perturb_mode": "expanded"}, "speed_perturb_mode: expanded is not random"),
        ({"loss_args": {"label_smoothing": 0.1}}, "loss_args.label_smoothing: unknown"),
        ({"optimizer": "Adam"}, "optimizer: Adam is none of SGD, AdamW"),
        ({"scheduler": "TriAngular2"}, "scheduler: TriAngular2 is not ExponentialDecrease"),
        ({"margin_update.final_margin": 3.0}, "margin 3 does not fit"),
        ({"seed": "x"}, "resnet.yaml: seed is 'x'"),
    ],
)
def test_what_there_is_not_is_refused_with_the_reason(changes, said):
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        imported(**changes)


def test_all_that_is_refused_is_named_at_once():
    with pytest.raises(UserError, match=r"cannot be imported: nonsense: .*; model: .*; optimizer: "):
        imported(nonsense=1, model="CAMPPlus2", optimizer="Adam")


@pytest.mark.slow
def test_their_model_gives_its_embeddings_with_the_imported_configuration(tmp_path):
    tree = theirs(**{"model": "ResNet18", "model_args.embed_dim": 32, "dataset_args.resample_rate": 16000})
    encoder = build_model("ResNet18", tree["model_args"]).eval()
    weights = encoder.state_dict() | {"projection.weight": torch.zeros(5, 32)}  # their head goes with the file
    (tmp_path / "models").mkdir()
    torch.save(weights, tmp_path / "models" / "avg_model.pt")
    save_config(import_config(tree, "config.yaml")[0], tmp_path / "config.yaml")
    feats = torch.randn(120, 80)
    with torch.inference_mode():
        expected = encoder((feats - feats.mean(dim=0))[None])[0]
    torch.testing.assert_close(load_encoder(tmp_path).embed(feats), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"feature_args": {"raw_wav": True}, "dataset_args.musan_scp": "x"}, "it is of a WeSpeaker before 2023"),
        ({"dataset_args.chunk_info_args": {"global_chunk_len": 300}, "dino_head_args": {"n": 3}}, "without labels"),
        (
            {"dataset_args.frontend": "s3prl", "dataset_args.s3prl_args": {"upstream_args": {"name": "wavlm_base"}}},
            "dataset_args.frontend: s3prl is not fbank or tfmel, the only ones supported$",
        ),
    ],
)
def test_one_reason_stands_for_all_keys_of_a_training_that_is_not_done_here(changes, told):
    with pytest.raises(UserError, match=rf"^resnet.yaml: cannot be imported: .*{told}") as raised:
        imported(**changes)
    assert "unknown key" not in str(raised.value)


TFMEL = {"n_mels": 72, "hop_length": 160, "win_length": 400, "n_fft": 512, "f_min": 20, "f_max": 7600}
TFMEL |= {"do_preemph": True, "norm_signal": True, "do_spec_aug": False, "eps": 1.0e-8}


def test_tfmel_becomes_features_of_redimnet():
    tree = theirs(**{"dataset_args.frontend": "tfmel", "dataset_args.tfmel_args": TFMEL, "model_args.feat_dim": 72})
    tree["dataset_args"] |= {"cmvn": False}
    del tree["dataset_args"]["fbank_args"]
    args = import_config(tree, "x.yaml")[0].dataset_args
    fbank = args.fbank_args
    assert (fbank.kind, fbank.num_mel_bins, fbank.frame_shift, fbank.unit_variance) == ("redimnet_tf", 72, 10.0, True)
    assert (fbank.low_freq, fbank.high_freq, args.cmvn) == (20.0, 7600.0, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"n_fft": 1024}, "tfmel_args.n_fft: only 512 is supported"), ({"n_mel": 80}, "tfmel_args.n_mel: unknown key")],
)
def test_tfmel_of_other_sizes_is_refused(change, said):
    tree = theirs(**{"dataset_args.frontend": "tfmel", "dataset_args.tfmel_args": {**TFMEL, **change}})
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        import_config(tree, "x.yaml")


def test_a_sample_rate_says_that_files_are_not_resampled():
    _, found = import_config(theirs(**{"dataset_args.resample_rate": 8000}), "test")
    assert found.keys["dataset_args.fbank_args.sample_rate"] == 8000
    assert found.left_out["dataset_args.resample_rate"].endswith(
        "convert those of another rate: local/convert_audio.sh --sample-rate 8000"
    )
