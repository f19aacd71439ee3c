"""The YAML file of a system."""

import pytest

from sv.config import Config, Override, load_config, save_config
from sv.errors import UserError


def write(path, text):
    path.write_text(text)
    return path


def test_saved_config_is_read_back_as_it_was(tmp_path):
    config = Config(seed=7, loss="aam", loss_args={"scale": 40.0})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_base_gives_what_the_file_does_not_say(tmp_path):
    write(tmp_path / "base.yaml", "seed: 1\nscheduler_args: {initial_lr: 0.2, final_lr: 1e-5}\n")
    lm = write(tmp_path / "lm.yaml", "base: base.yaml\nscheduler_args: {initial_lr: 1e-4}\n")
    config = load_config(lm)
    assert (config.seed, config.scheduler_args.initial_lr, config.scheduler_args.final_lr) == (1, 1e-4, 1e-5)


def test_overrides_win_and_take_yaml_values(tmp_path):
    path = write(tmp_path / "c.yaml", "num_epochs: 3\n")
    words = ["num_epochs=5", "dataset_args.fbank_args.window=povey", "model_args={embed_dim: 64}"]
    config = load_config(path, [Override.of(word) for word in words])
    assert config.num_epochs == 5
    assert config.dataset_args.fbank_args.window == "povey"
    assert config.model_args == {"embed_dim": 64}


@pytest.mark.parametrize("text", ["exp/run #2/avg.pt", "no", "[x]: y", "1.5", "it's", ""])
def test_an_override_of_a_text_is_taken_as_it_is(tmp_path, text):
    path = write(tmp_path / "c.yaml", "num_epochs: 3\n")
    config = load_config(path, [Override("model_init", text, "--checkpoint"), Override.of("teacher=''")])
    assert (config.model_init, config.teacher) == (text, "")
    save_config(config, tmp_path / "written.yaml")
    assert load_config(tmp_path / "written.yaml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sead: 1", "unknown key 'sead'; did you mean 'seed'?"),
        ("dataset_args: {fbank_args: {windo: povey}}", "unknown key 'dataset_args.fbank_args.windo'; did you mean"),
        (
            "lr: 0.1",
            "'lr'; did you mean fine_tuning.encoder_lr or scheduler_args.initial_lr or scheduler_args.final_lr?",
        ),
        ("batch_size: 8", "unknown key 'batch_size'; did you mean dataloader_args.batch_size?"),
        ("model_init: null\nprojection_args: {scale: 32}", "key of WeSpeaker; convert the file with tools/import_w"),
        ("seed: -1", "seed is -1: Input should be greater than or equal to 0"),
        ("seed: 4294967296", "seed is 4294967296: Input should be less than or equal to 4294967295"),
        ("seed: abc", "seed is 'abc': Input should be a valid integer"),
        (
            "dataset_args: {fbank_args: {sample_rate: 16}}",
            "sample_rate is 16: Input should be greater than or equal to 1000",
        ),
        ("dataset_args: {num_frms: 0}", "dataset_args.num_frms is 0: Input should be greater than 0"),
        ("dataset_args: {augment_args: {babble_speakers: [0, 2]}}", "babble_speakers.0 is 0: Input should be greater"),
        ("precision: fp8", "precision is 'fp8'; known: fp32, bf16, fp16"),
        ("train_feats: shards", "train_feats is 'shards'; did you mean 'shard'? known: ark, online, shard"),
        ("optimizer_args: 3", "optimizer_args is 3:"),
        ("- a\n- b", "expected 'key: value' lines, found list"),
        ("a: [1", "not YAML"),
        ("base: c.yaml", "is its own base"),
        ("base: other.yaml", "other.yaml does not exist"),
    ],
)
def test_a_bad_file_gets_one_line_with_its_path(tmp_path, text, message):
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(UserError) as error:
        load_config(path)
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("override", ["seed", "=3", "seed.x=3", "seed=[1"])
def test_a_bad_override_is_quoted(tmp_path, override):
    path = write(tmp_path / "c.yaml", "seed: 1\n")
    with pytest.raises(UserError, match="--set"):
        load_config(path, [Override.of(override)])


@pytest.mark.parametrize(
    "word", ["sead=3", "seed=abc", "dataset_args.num_frms=0", "dataset_args={num_frms: 0}", "no.key=1"]
)
def test_a_wrong_override_is_named_in_place_of_the_file(tmp_path, word):
    path = write(tmp_path / "c.yaml", "seed: 1\n")
    with pytest.raises(UserError) as error:
        load_config(path, [Override.of("seed=2"), Override.of(word), Override.of("num_avg=2")])
    assert str(error.value).startswith(f"--set {word}: ")


def test_a_mistake_in_the_file_is_not_laid_on_an_override(tmp_path):
    path = write(tmp_path / "c.yaml", "dataset_args: {num_frms: 0}\n")
    with pytest.raises(UserError) as error:
        load_config(path, [Override.of("dataset_args.speeds=[]"), Override.of("seed=2")])
    assert str(error.value).startswith(str(path))
