"""A dry run names what an earlier stage of the same run makes, and does not fail for want of it."""

from pathlib import Path


def test_noises_that_stage_1_makes_are_to_do(step, tmp_path: Path) -> None:
    data, system = tmp_path / "data", tmp_path / "system.yaml"
    (data / "train").mkdir(parents=True)
    (data / "train/utt2dur").touch()
    system.write_text(f"train_feats: online\nnoise_data: {data}/noises\nreverb_data: {data}/rirs\n")
    words = ["--system", system, tmp_path / "exp", data / "train", data / "train", data / "test"]
    result = step("steps/show_plan.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"{tmp_path}/exp: to do; it augments with {data}/noises/wav.scp, which stage 1 makes\n" in result.stdout
    (data / "noises").mkdir()
    (data / "noises/wav.scp").touch()
    assert f"it augments with {data}/rirs/wav.scp, which stage 1" in step("steps/show_plan.py", *words).stdout
    assert "which stage 1 makes" not in step("steps/show_plan.py", "--stage", 2, *words).stdout


def test_behind_the_training_an_imported_model_needs_none(step, tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "exp/models/avg_model.pt"
    (tmp_path / "system.yaml").touch()
    words = ["--stage", 4, "--system", tmp_path / "system.yaml", tmp_path / "exp", data, data, data]
    assert f"{model}: lacking; train, or import a model first\n" in step("steps/show_plan.py", *words).stdout
    model.parent.mkdir(parents=True)
    model.touch()
    shown = step("steps/show_plan.py", *words).stdout
    assert f"stage 3: training\n    {model}: imported\nstage 4" in shown


def test_embeddings_to_do_are_those_that_back_ends_are_trained_on(step, tmp_path: Path) -> None:
    (tmp_path / "system.yaml").touch()
    words = ["--stage", 4, "--system", tmp_path / "system.yaml", "--backend-set", tmp_path / "train_backend"]
    shown = step("steps/show_plan.py", *words, tmp_path / "exp", tmp_path / "train", tmp_path / "train", tmp_path / "x")
    assert f"stage 4: embeddings\n    {tmp_path}/exp/embeddings/train_backend: to do\n" in shown.stdout


def test_training_that_reads_waveforms_needs_durations_and_no_features(step, tmp_path: Path) -> None:
    train, test, system = tmp_path / "train", tmp_path / "test", tmp_path / "system.yaml"
    train.mkdir()
    system.write_text("train_feats: online\n")
    words = ["steps/show_plan.py", "--system", system, "--stage", 4, tmp_path / "exp", train, train, test]
    assert f"features\n    {train}: to do: utt2dur\n    {test}: to do\n" in step(*words).stdout
    (train / "utt2dur").touch()
    assert f"features\n    {train}: done\n    {test}: to do\n" in step(*words).stdout
    backend_set = ["--backend-set", tmp_path / "train_backend"]  # augmented copies of its features
    assert f"features\n    {train}: to do\n" in step(*words, *backend_set).stdout
