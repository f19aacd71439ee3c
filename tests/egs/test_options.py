"""A wrong option of a recipe gets one line, before anything is done."""

import os

import pytest

GPU_FILES = ["/dev/nvidia0", "/dev/nvhost-gpu", "/dev/dxg", "/dev/kfd"]
RECIPES = ["mini", "own", "speechocean762", "voxceleb"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_prints_options_with_defaults(run, recipe):
    result = run(f"egs/{recipe}/run.sh", "--help")
    assert result.returncode == 0
    for option in ("--stop-stage 8", "--loss", "--lambda", "--trials", "--check-audio true", "--dry-run"):
        assert option in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mini", "own"])
def test_encoders_are_listed_with_sizes_and_checkpoints(run, recipe):
    lines = run("bash", "-c", f"egs/{recipe}/run.sh --model list | head -n 4").stdout.splitlines()
    assert lines[0] == "| `model` | parameters (M) | GFLOPs of 2 s | dim | loads checkpoints of |"
    assert lines[3] == "| `ResNet18` | 4.11 | 4.34 | 256 | WeSpeaker |"


def refused(result, status, message):
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert message in result.stderr


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    ("status", "options", "message"),
    [
        (2, ["--los", "aam"], "unknown option --los; did you mean --loss?"),
        (2, ["--epochs", "3"], "unknown option --epochs; did you mean --num-epochs?"),
        (2, ["--stage", "10"], "and end at 9; leave --stage out"),
        pytest.param(
            1, ["--stage", "3", "--loss", "aamm"], "unknown loss 'aamm'; did you mean 'aam'?", marks=pytest.mark.slow
        ),
    ],
)
def test_every_recipe_checks_its_options(run, recipe, status, options, message, tmp_path):
    places = ["--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
    refused(run(f"egs/{recipe}/run.sh", *options, *places), status, message)


def test_a_corpus_of_ones_own_must_be_given(run, tmp_path):
    refused(run("egs/own/run.sh", "--exp-dir", tmp_path / "exp"), 2, "no corpus; give --corpus DIR")
    given = ["--corpus", tmp_path, "--test-speakers", "many"]
    refused(run("egs/own/run.sh", *given), 2, "--test-speakers is a whole number, not 'many'")


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            "voxceleb",
            "--vox1 egs/voxceleb/corpora/voxceleb1 does not exist; give --vox1 DIR and --vox2 DIR, or download",
        ),
        (
            "cnceleb",
            "--cnceleb1 egs/cnceleb/corpora/CN-Celeb_flac does not exist; give --cnceleb1 DIR and --cnceleb2 DIR",
        ),
        (
            "speechocean762",
            "--corpus egs/speechocean762/corpora/speechocean762 does not exist; give --corpus DIR, or --download true",
        ),
    ],
)
def test_a_corpus_that_is_not_there_names_the_options(run, recipe, message, tmp_path):
    refused(run(f"egs/{recipe}/run.sh", "--exp-dir", tmp_path / "exp", "--gpus", "none"), 1, message)
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize("recipe", ["mini", "own", "speechocean762"])
def test_a_configuration_that_is_not_there_gets_those_of_the_recipe(run, recipe, tmp_path):
    given = ["--stage", "3", "--config", "nope.yaml", "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
    told = f"--config ./nope.yaml is not a file; this recipe has egs/{recipe}/conf/"
    result = run(f"egs/{recipe}/run.sh", *given)
    refused(result, 1, told)
    assert "resnet_small.yaml" in result.stderr and "_lm.yaml" not in result.stderr


@pytest.mark.parametrize(
    ("status", "options", "message"),
    [
        (2, ["--stage", "3", "--stop-stage", "12"], "--stop-stage 12: the last stage is 9"),
        (2, ["--stage", "4", "--stop-stage", "3"], "--stage 4 comes after --stop-stage 3"),
        (2, ["--stage", "five"], "--stage is a whole number, not 'five'"),
        (2, ["--stage", "9", "--stop-stage", "3"], "--stage 9 comes after --stop-stage 3"),
        (2, ["--stage", "9", "--dry-run", "true"], "--dry-run shows stages 1 to 8; leave out --stage 9"),
        (
            1,
            ["--stop-stage", "9", "--lm-config", "no.yaml"],
            "no.yaml does not exist; give the YAML file of the fine-tuning",
        ),
        pytest.param(
            1,
            ["--stage", "3", "--loss", "teacher"],
            "loss teacher takes a teacher; give its experiment folder (--teacher DIR)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1,
            ["--stage", "3", "--teacher", "no"],
            "no/models/avg_model.pt does not exist; train the system (stage 3)",
            marks=pytest.mark.slow,
        ),
        (2, ["--lm-stop-stage", "12"], "--lm-stop-stage 12: fine-tuning has the stages 3 to 8"),
        pytest.param(
            1,
            ["--gpus", "0,5"],
            "--gpus 0,5: this machine has no GPU; give --gpus none for the CPU, or a --cmd that finds one",
            marks=pytest.mark.skipif(any(map(os.path.exists, GPU_FILES)), reason="this machine has a GPU"),
        ),
        (1, ["--cmd", "foo.pl"], "--cmd foo.pl: there is no foo.pl; give run.pl, queue.pl or slurm.pl"),
        (2, ["--data-type", "shards"], "--data-type is one of feat, raw, shard, not 'shards'; did you mean shard?"),
        (2, ["--data-type", "feat", "--train-feats", "online"], "--data-type and --train-feats say the same; give one"),
        (2, ["--matched-trials", "H.kaldi"], "--matched-trials and --matched-by need each other; give both"),
        (2, ["--matched-by", "spk2gender"], "--matched-trials and --matched-by need each other; give both"),
        (2, ["--num-procs", "0"], "--num-procs is at least 1, not 0"),
        (2, ["--num-threads", "-2"], "--num-threads is at least 0, not -2"),
        (2, ["--lda-dim", "1e2"], "--lda-dim is a whole number, not '1e2'"),
        (2, ["--top-n", "many"], "--top-n is a whole number, not 'many'"),
        (2, ["--speeds", "0.9,1.1"], "--speeds takes factors, as in \"0.9 1.1\", not '0.9,1.1'"),
        (2, ["--speeds", "0.91.1"], "--speeds takes factors, as in \"0.9 1.1\", not '0.91.1'"),
        (2, ["--speeds", "0.9  1.1"], "--speeds takes factors, as in \"0.9 1.1\", not '0.9  1.1'"),
        (2, ["--speeds", "0.9 0.90 1.1"], "--speeds '0.9 0.90 1.1': a speed is given twice; leave one out"),
        (2, ["--speeds", "0.9 1.0"], "--speeds '0.9 1.0': speed 1 is the original; leave it out"),
        pytest.param(
            2,
            ["--stage", "2", "--augment", "reverb nosie"],
            "--augment nosie: the types are reverb, noise, music, babble and mixed",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            2,
            ["--stage", "2", "--backend-augment", "mixed music"],
            "--backend-augment music needs MUSAN (--musan DIR), since there is no synthetic music",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1,
            ["--stage", "2", "--backend-augment", "mixed", "--train-feats", "shard"],
            "--backend-augment needs features of the training data, and shards have none",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1, ["--stage", "3", "--loss", "aam", "--t", "3"], "loss aam has no option 't'", marks=pytest.mark.slow
        ),
        pytest.param(1, ["--stage", "3", "--config", "none.yaml"], "none.yaml is not a file", marks=pytest.mark.slow),
        pytest.param(1, ["--checkpoint", "none.pt"], "none.pt does not exist; give a model", marks=pytest.mark.slow),
        pytest.param(2, ["--gpus", "0;1"], "--gpus '0;1': expected numbers, as in 0,1", marks=pytest.mark.slow),
        pytest.param(
            1,
            ["--set", "head_init=load"],
            "head_init is load, but there is no model to start from",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1,
            ["--set", "split_head=true", "--loss", "ge2e"],
            "has no weight vectors to share",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_wrong_option_is_one_line(run, status, options, message, tmp_path):
    """Options of steps/recipe.sh, and some of steps/make_system.py, which has tests of its own."""
    refused(run("egs/mini/run.sh", *options, "--exp-dir", tmp_path / "exp"), status, message)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mini", "speechocean762"])
def test_synthetic_noise_has_no_music(run, recipe):
    result = run(f"egs/{recipe}/run.sh", "--stage", "2", "--augment", "noise music")
    assert result.returncode == 2
    assert result.stderr == (
        "run.sh: error: --augment music needs MUSAN (--musan DIR), since there is no synthetic music; "
        "give it, or leave music out\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (2, 4, "vox1/wav.scp does not exist; prepare the data first (stage 1)"),
        (2, 5, "no trial list in {}/mine/vox1/trials; make them (stage 1)"),
        (3, 3, "{}/mine/vox2_dev_sp/feats.scp does not exist; make it first (stages 1 and 2)"),
    ],
)
def test_a_stage_before_its_data_says_which_stages_make_it_and_writes_nothing(
    run, root, tmp_path, first, last, message
):
    (tmp_path / "mine/vox2_dev").mkdir(parents=True)
    (tmp_path / "mine/vox2_dev/wav.scp").touch()
    if last == 5:
        (tmp_path / "mine/vox1").symlink_to("vox2_dev")
    words = ["--stage", first, "--stop-stage", last, "--data", "mine", "--exp-dir", "exp"]
    result = run(root / "egs/voxceleb/run.sh", *words, cwd=tmp_path)  # paths are those of the user
    assert result.returncode == 1 and message.format(tmp_path) in result.stderr and result.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"] and not (tmp_path / "mine/.run.lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speeds", "0.7 1.3"], "train_sp has the copies sp0.9 sp1.1, not sp0.7 sp1.3; give their options, or run"),
        (["--speeds", "1.1 0.9", "--backend-augment", "mixed"], ""),
        ([], ""),
        (["--backend-augment", "noise"], "train_backend has the copies mixed, not noise; give their options, or run"),
    ],
)
def test_later_stages_refuse_other_copies_than_those_of_stage_2(run, tmp_path, options, message):
    for name, copies in (("sp", "sp0.9\nsp1.1\n"), ("backend", "mixed\n")):
        (tmp_path / f"data/train_{name}").mkdir(parents=True)
        (tmp_path / f"data/train_{name}/copies").write_text(copies)
    words = ["--stage", 3, "--data", tmp_path / "data", "--exp-dir", tmp_path / "exp", *options]
    result = run("egs/speechocean762/run.sh", "--dry-run", "true", *words)
    if message:
        refused(result, 1, message)
    else:
        assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_dry_run_tells_what_is_missing_and_writes_nothing(run, recipe, tmp_path):
    folders = ["--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
    result = run(f"egs/{recipe}/run.sh", "--dry-run", "true", "--speeds", "0.9", "--augment", "noise", *folders)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(": to do\n") == 4  # features and embeddings of two sets
    assert "its iterations depend on" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_system_trained_on_augmented_copies_has_a_folder_of_its_own(run, tmp_path):
    shown = run("egs/mini/run.sh", "--dry-run", "true", "--augment", "noise", "--data", tmp_path / "data").stdout
    assert "egs/mini/exp/resnet_small-sphereface2-C-m0.2-seed42-aug/embeddings/vox1: to do" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "none.kaldi"], "--trials none.kaldi: {}/data/test/trials has O.kaldi"),
        (
            ["--matched-trials", "O.kaldi", "--matched-by", "spk2gendr"],
            "--matched-by spk2gendr: {0}/data/train/spk2gendr does not exist; give tables that are there, or neither",
        ),
        (["--matched-trials", "", "--top-n", "5"], "out of range: "),  # neither is asked for
        (["--matched-by", "", "--top-n", "5"], "out of range: "),
        (["--enroll-map", "none.map"], "none.map does not exist; give a file with lines 'model utt1 utt2 ...'"),
        (["--top-n", "5"], "{}/data/train has 3 speakers, of which 0 are held out; out of range: "),
        (["--top-n", "5"], "out of range: --top-n 5 (give 2 to 3) --lda-dim 100 (give 0 to 2)"),
        (["--top-n", "3", "--lda-dim", "3"], "out of range: --lda-dim 3 (give 0 to 2)"),
        (["--top-n", "0", "--lda-dim", "0"], "out of range: --top-n 0 (give 2 to 3)"),
        (["--set", "heldout_speakers=2"], "of which heldout_speakers=2 are set aside, and at least 2 must be left to"),
    ],
)
def test_a_dry_run_and_a_real_one_look_first_at_what_later_stages_take(run, tmp_path, options, message):
    (tmp_path / "data/test/trials").mkdir(parents=True)
    (tmp_path / "data/test/trials/O.kaldi").touch()
    (tmp_path / "data/train").mkdir()
    (tmp_path / "data/train/utt2spk").write_text("".join(f"s{n}-1 s{n}\n" for n in range(3)))
    (tmp_path / "data/train/spk2utt").write_text("".join(f"s{n} s{n}-1\n" for n in range(3)))
    words = [
        "--data",
        tmp_path / "data",
        "--exp-dir",
        tmp_path / "exp",
        "--set",
        "heldout_speakers=0",
        "--trials",
        "O.kaldi",
    ]
    for dry in ("true", "false"):
        result = run("egs/speechocean762/run.sh", "--dry-run", dry, "--stage", 2, *words, *options)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)
        assert message.format(tmp_path) in result.stderr


@pytest.mark.slow
def test_a_dry_run_of_all_stages_knows_the_trial_lists_that_were_made(run, tmp_path):
    (tmp_path / "data/test/trials").mkdir(parents=True)
    (tmp_path / "data/test/trials/O.kaldi").touch()
    folders = ["--data", tmp_path / "data", "--exp-dir", tmp_path / "exp"]
    refused(
        run("egs/speechocean762/run.sh", "--dry-run", "true", "--trials", "foo", *folders),
        1,
        f"--trials foo: {tmp_path}/data/test/trials has O.kaldi",
    )
