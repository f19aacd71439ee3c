"""From a file and options to a system."""

import subprocess
import sys

import pytest

from sv.config import FineTuning, Override, save_config
from sv.errors import UserError
from sv.system import make_fine_tuning, make_system, system_name
from tests.conftest import ROOT

FILE = """
model: resnet_small
model_args: {embed_dim: 64}
loss: sphereface2
loss_args: {margin_type: C, scale: 30.0}
margin_update: {final_margin: 0.25}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "c.yaml").write_text(FILE)
    return tmp_path / "c.yaml"


def sets(*words):
    return [Override.of(word) for word in words]


def make(path, *words):
    return make_system(path, sets(*words))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "resnet_small-sphereface2-C-m0.25-seed42"),
        (["loss_args.margin_type=A", "margin_update.final_margin=0.15"], "resnet_small-sphereface2-A-m0.15-seed42"),
        (["loss_args.margin_type=A"], "resnet_small-sphereface2-A-m0.15-seed42"),
        (["loss_args.margin_type=C"], "resnet_small-sphereface2-C-m0.25-seed42"),
        (["loss=aam", "seed=7"], "resnet_small-aam-m0.2-seed7"),
        (["loss=softmax", "model=XVEC"], "XVEC-softmax-seed42"),
        (["loss=triplet"], "resnet_small-triplet-semihard-m0.3-seed42"),
        (["loss=ge2e"], "resnet_small-ge2e-seed42"),
    ],
)
def test_names(path, words, name):
    assert system_name(make(path, *words)) == name


def test_everything_is_filled_in(path):
    config = make(path, "dataset_args.fbank_args.num_mel_bins=40")
    assert (
        config.model_args.items() >= {"m_channels": 8, "feat_dim": 40, "embed_dim": 64, "pooling_func": "TSTP"}.items()
    )
    assert config.loss_args["scale"] == 30.0
    assert config.loss_args["t"] == 3.0


def test_another_loss_drops_options_and_margin_of_the_files_loss(path):
    config = make(path, "loss=aam")
    assert config.loss_args["scale"] == 32.0
    assert config.margin_update.final_margin == 0.2
    assert make(path, "loss=sphereface2").loss_args["scale"] == 30.0


def test_a_metric_loss_takes_groups_and_the_others_do_not(path):
    for loss, sampler in (("ge2e", "pxk"), ("triplet", "pxk"), ("aam", "utterance"), ("sphereface2", "utterance")):
        config = make(path, f"loss={loss}")
        assert config.dataloader_args.sampler == sampler
        assert config.loss_args.get("utts_per_speaker", 2) == 2
    config = make(path, "loss=ge2e", "dataloader_args.utts_per_speaker=4")
    assert (config.dataloader_args.utts_per_speaker, config.loss_args["utts_per_speaker"]) == (4, 4)
    assert make(path, "dataloader_args.sampler=speaker").dataloader_args.sampler == "speaker"
    assert make(path, "loss=aam", "dataloader_args.sampler=pxk").dataloader_args.sampler == "pxk"


def test_another_loss_drops_the_sampler_of_the_files_loss(tmp_path, path):
    save_config(make(path, "loss=ge2e"), tmp_path / "ge2e.yaml")
    assert make(tmp_path / "ge2e.yaml", "loss=aam").dataloader_args.sampler == "utterance"
    assert make(tmp_path / "ge2e.yaml").loss == "ge2e"


def test_the_margin_of_triplets_does_not_grow(path):
    update = make(path, "loss=triplet").margin_update
    assert (update.initial_margin, update.final_margin) == (0.3, 0.3)


def test_without_an_update_the_initial_margin_is_the_final_one_too(path):
    constant = ["margin_update.update_margin=false", "margin_update.initial_margin=0.35"]
    for loss in ("sphereface2", "aam"):
        config = make(path, f"loss={loss}", *constant)
        assert (config.margin_update.initial_margin, config.margin_update.final_margin) == (0.35, 0.35)
        assert "-m0.35-" in system_name(config)
    save_config(make(path, *constant), path)
    update = make(path, "loss=aam").margin_update
    assert (update.initial_margin, update.final_margin, update.update_margin) == (0, 0.2, True)


def test_no_initial_margin_is_1_for_type_m(path):
    assert make(path, "loss_args.margin_type=M").margin_update.initial_margin == 1


def test_another_model_drops_options_of_the_files_model(path):
    assert make(path, "model=XVEC").model_args["embed_dim"] == 512


def test_overrides_come_last(path):
    config = make(
        path, "loss=aam", "scheduler_args.initial_lr=0.2", "scheduler_args.initial_lr=0.3", "loss_args={scale: 20.0}"
    )
    assert (config.scheduler_args.initial_lr, config.loss_args["scale"]) == (0.3, 20.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss=aam", "loss_args.t=3"], "loss aam has no option 't'"),
        (["loss=aan"], "unknown loss 'aan'; did you mean 'aam'"),
        (["model_args.embed_dim=-3"], "model resnet_small: embed_dim is -3: Input should be greater than 0"),
        (["model_args.pooling_func=TSTB"], "unknown pooling 'TSTB'; did you mean 'TSTP'"),
        (["model=ECAPA_TDNN_GLOB_c512", "model_args.pooling_func=TSTP"], "TSTP has no option 'global_context_att'"),
        (["model=ResNet35"], "unknown model 'ResNet35'; did you mean"),
        (["margin_update.final_margin=much"], "margin_update.final_margin is 'much'"),
        (["loss=softmax", "margin_update.final_margin=0.2"], "margin 0.2 does not fit: loss softmax has no margin"),
        (
            ["margin_update.initial_margin=0.4"],
            "c.yaml: margin_update.initial_margin is 0.4, above final_margin 0.25; set it lower, or",
        ),
        (["margin_update.initial_margin=-0.4"], "margin -0.4 does not fit: loss sphereface2 takes 0 to 1"),
        (
            ["loss_args.margin_type=M", "margin_update.initial_margin=0.5"],
            "margin 0.5 does not fit: loss sphereface2 takes 1 to 4",
        ),
        (["loss_args.margin_type=B"], "margin_type"),
        (["loss_argz.t=3"], "unknown key 'loss_argz'; did you mean 'loss_args'"),
        (["model_args.feat_dim=40"], "model_args.feat_dim is 40, but dataset_args.fbank_args.num_mel_bins is 80"),
        (
            ["dataset_args.vad=true", "dataset_args.fbank_args.kind=redimnet"],
            "dataset_args.vad takes frames of fbank_args.kind kaldi; leave out one of the two",
        ),
        (
            ["dataset_args.vad=true", "dataset_args.fbank_args.snip_edges=false"],
            "dataset_args.vad takes frames of fbank_args.snip_edges true; leave out one of the two",
        ),
        (["margin_update.fix_start_epoch=3"], "fix_start_epoch is before"),
        (["dataloader_args.sampler=pk"], "--set dataloader_args.sampler=pk: dataloader_args.sampler is 'pk'"),
        (
            ["loss=ge2e", "dataloader_args.sampler=speaker"],
            "dataloader_args.sampler is speaker, but loss ge2e compares the utterances of a batch, which takes pxk",
        ),
        (
            ["loss=ge2e", "train_feats=online", "dataset_args.speeds=[0.9, 1.1]"],
            "dataset_args.speeds makes another speaker of a sample, which the sampler pxk does not allow",
        ),
        (["loss=ge2e", "dataloader_args.utts_per_speaker=1"], "dataloader_args.utts_per_speaker is 1"),
        (
            ["loss=ge2e", "loss_args.utts_per_speaker=3"],
            "loss_args.utts_per_speaker is 3, but dataloader_args.utts_per_speaker is 2; leave the first out",
        ),
        (
            ["loss=ge2e", "dataloader_args.batch_size=9"],
            "dataloader_args.batch_size is 9, which is not two or more speakers x 2 utterances",
        ),
        (
            [
                "loss=aam",
                "dataloader_args.batch_size=4",
                "dataloader_args.sampler=pxk",
                "dataloader_args.utts_per_speaker=4",
            ],
            "dataloader_args.batch_size is 4, which is not two or more speakers x 4 utterances",
        ),
        (
            ["loss=triplet", "pseudo_args.gate=true"],
            "pseudo_args.gate, mask and correct_above take a loss with a class for each speaker, and loss triplet",
        ),
        (
            ["dataloader_args.sampler=speaker", "pseudo_args.labelled_share=0.5"],
            "pseudo_args.labelled_share takes dataloader_args.sampler utterance, not speaker; leave out one of the two",
        ),
        (
            ["train_feats=online", "dataset_args.speeds=[0.9]", "pseudo_args.correct_above=0.9"],
            "pseudo_args.correct_above cannot correct labels of the copies that dataset_args.speeds makes",
        ),
        (
            ["num_epochs=5", "pseudo_args.gate=true", "pseudo_args.start_epoch=5"],
            "pseudo_args.start_epoch is 5, and num_epochs 5: gate and correction would never begin; set it lower",
        ),
        (["pseudo_args.labelled_share=1"], "pseudo_args.labelled_share is 1"),
        (["loss=triplet", "margin_update.final_margin=3"], "margin 3 does not fit: loss triplet takes 0 to 2"),
        (
            ["loss=aam_subcenter", "loss_args.scale=-1"],
            "aam_subcenter: scale is -1: Input should be greater than 0",
        ),
    ],
)
def test_mistakes_get_one_line(path, words, message):
    with pytest.raises(UserError) as error:
        make(path, *words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_is_told_in_the_words_of_the_user(path):
    with pytest.raises(UserError, match=r"^--batch-size x: dataloader_args.batch_size is 'x'"):
        make_system(path, [Override("dataloader_args.batch_size", "x", "--batch-size x")])


@pytest.mark.parametrize("loss", ["triplet", "ge2e"])
def test_losses_without_weight_vectors_are_not_split(path, loss):
    with pytest.raises(UserError, match=f"loss {loss} has no weight vectors to share out; leave out split_head"):
        make(path, f"loss={loss}", "split_head=true")


@pytest.mark.slow
def test_every_configuration_of_every_recipe_is_resolved_and_named_without_torch():
    code = """
import sys
from pathlib import Path
from sv.system import make_system, system_name
for path in Path("egs").glob("*/conf/*.yaml"):
    print(path, system_name(make_system(path)))
sys.exit("torch is loaded" if "torch" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "egs/voxceleb/conf/resnet34.yaml ResNet34-sphereface2-C-m0.2-seed42\n" in done.stdout


LM = """
do_lm: true
num_epochs: 2
margin_update: {final_margin: null, increase_type: fixed}
dataset_args: {num_frms: 300}
"""


@pytest.fixture
def trained(path, tmp_path):
    """Leave what a training leaves; gives its folder."""

    def train(*words):
        save_config(make(path, *words), tmp_path / "exp" / "config.yaml")
        (tmp_path / "exp" / "models").mkdir(exist_ok=True)
        (tmp_path / "exp" / "models" / "avg_model.pt").touch()
        (tmp_path / "lm.yaml").write_text(LM)
        return tmp_path / "exp"

    (tmp_path / "exp").mkdir()
    return train


@pytest.mark.parametrize(
    ("words", "margin"),
    [
        (["loss=aam", "loss_args.scale=20"], 0.5),
        (["loss_args.scale=20"], 0.3),
        (["loss_args.margin_type=A"], 0.25),
        (["loss=am"], 0.2),
        (["loss=softmax"], 0.0),
    ],
)
def test_fine_tuning_keeps_the_trained_system_and_takes_the_margin_of_its_loss(trained, tmp_path, words, margin):
    exp = trained(*words, "seed=5", "dataset_args.cmvn=false", "heldout_speakers=7")
    config = make_fine_tuning(tmp_path / "lm.yaml", exp)
    assert config.margin_update.final_margin == margin
    assert config.num_epochs == 2 and config.dataset_args.num_frms == 300 and config.do_lm
    before = make(exp / "config.yaml")
    for key in ("model", "model_args", "loss", "loss_args", "seed", "heldout_speakers"):
        assert getattr(config, key) == getattr(before, key)
    assert not config.dataset_args.cmvn


def test_fine_tuning_is_not_frozen_or_slowed_as_the_trained_systems_start_was(trained, tmp_path):
    exp = trained(
        "model_init=x.pt", "fine_tuning.frozen_epochs=3", "fine_tuning.encoder_lr=0.1", "fine_tuning.layer_decay=0.9"
    )
    assert make_fine_tuning(tmp_path / "lm.yaml", exp).fine_tuning == FineTuning()
    config = make_fine_tuning(tmp_path / "lm.yaml", exp, sets("fine_tuning.encoder_lr=0.5"))
    assert config.fine_tuning == FineTuning(encoder_lr=0.5)


def test_fine_tuning_does_not_lower_the_margin_by_itself(trained, tmp_path):
    exp = trained("margin_update.final_margin=0.4")
    assert make_fine_tuning(tmp_path / "lm.yaml", exp).margin_update.final_margin == 0.4


def test_a_file_that_leaves_the_margin_out_takes_that_for_fine_tuning_with_do_lm_alone(trained, tmp_path):
    for words, kept in (([], 0.25), (["margin_update.update_margin=false", "margin_update.initial_margin=0.1"], 0.1)):
        exp = trained(*words)
        for do_lm, margin in (("true", 0.3), ("false", kept)):
            (tmp_path / "lm.yaml").write_text(f"do_lm: {do_lm}\nmargin_update: {{increase_type: fixed}}\n")
            update = make_fine_tuning(tmp_path / "lm.yaml", exp).margin_update
            assert (update.final_margin, update.update_margin or do_lm == "false") == (margin, True)


def test_fine_tunings_own_margin_comes_first(trained, tmp_path):
    config = make_fine_tuning(tmp_path / "lm.yaml", trained(), sets("margin_update.final_margin=0.35"))
    assert config.margin_update.final_margin == 0.35


def test_fine_tuning_of_what_is_not_trained_or_otherwise_is_refused(trained, tmp_path):
    exp, lm = trained("loss=aam"), tmp_path / "lm.yaml"
    lm.write_text("model: XVEC\n")
    with pytest.raises(
        UserError, match=r"lm.yaml: model is XVEC, but .*exp was trained with resnet_small; give the file"
    ):
        make_fine_tuning(lm, exp)
    lm.write_text("loss: am\n")
    with pytest.raises(UserError, match=r"lm.yaml: loss is am, but .*exp was trained with aam"):
        make_fine_tuning(lm, exp)
    (exp / "models" / "avg_model.pt").unlink()
    with pytest.raises(UserError, match=r"avg_model.pt does not exist; train the system \(stage 3\)"):
        make_fine_tuning(lm, exp)
