"""Two recordings: what is said of them, and what is refused. The model is random, the audio is noise."""

import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.functional import resample

import sv
from sv import Verifier
from sv.errors import UserError
from sv.scoring.calibration import Calibration
from sv.verifier import Recording
from tests.sv.noise_verifier import RATE, make_exp, noise, write

pytestmark = pytest.mark.usefixtures("noise_is_speech")


@pytest.fixture(scope="module")
def exp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_exp(tmp_path_factory.mktemp("exp"))


def test_a_recording_is_of_the_same_speaker_as_itself(exp: Path, tmp_path: Path) -> None:
    verifier, file = Verifier.load(exp, gpus="none"), write(tmp_path / "a.wav", noise(0))
    verdict = verifier.score(file, file, prior=0.1, threshold="eer")
    assert verdict.decision == "same" and verdict.same is True and verdict.cosine == pytest.approx(1.0)
    assert verdict.llr == pytest.approx(5.0, abs=1e-4)
    odds = 0.1 / 0.9 * math.exp(verdict.llr)
    assert verdict.probability == pytest.approx(odds / (1 + odds))
    assert (verdict.threshold, verdict.threshold_name) == (0.5, "eer")


def test_decision_depends_on_threshold_and_margin(exp: Path) -> None:
    verifier, one = Verifier.load(exp, gpus="none"), noise(0)
    assert verifier.score(one, one, threshold="fa_0.01").decision == "different"  # llr 5, threshold 20
    assert verifier.score(one, one, threshold="eer", margin=4.4).decision == "same"
    assert verifier.score(one, one, threshold="eer", margin=4.6).decision == "cannot tell"
    given = verifier.score(one, one, threshold=np.float32(4.5), margin=0)
    assert (given.decision, given.threshold, given.threshold_name) == ("same", 4.5, "given")
    assert verifier.score(one, one, threshold=6).decision == "cannot tell"


@pytest.mark.parametrize("prior", [0.001, 0.004, 0.01, 0.5, 0.999])
def test_decision_and_probability_agree(exp: Path, prior: float) -> None:
    verifier = Verifier(exp, gpus="none")
    verdict = verifier.score(noise(0), noise(0), prior=prior, margin=0)  # llr 5
    assert verdict.same is (verdict.probability >= 0.5)
    assert (verdict.threshold, verdict.threshold_name) == (pytest.approx(math.log((1 - prior) / prior)), "prior")


def test_a_verdict_is_no_truth_value(exp: Path) -> None:
    verifier, one = Verifier(exp, gpus="none"), noise(0)
    found = {verifier.score(one, one, threshold=limit).same for limit in (0, 5.0, 20)}
    assert found == {True, None, False}
    with pytest.raises(TypeError, match=r"a verdict \(different\) is no truth value; use \.same"):
        bool(verifier.score(one, one, threshold=20))


def test_package_tells_its_names_and_version() -> None:
    assert {"Verifier", "Verdict", "Recording", "Speaker", "UserError", "__version__"} <= set(dir(sv))
    assert not {"TYPE_CHECKING", "import_module"} & set(dir(sv))
    assert sv.UserError is UserError and sv.Recording is Recording
    assert [int(number) for number in sv.__version__.split(".")] >= [0, 1, 0]
    with pytest.raises(AttributeError, match="module 'sv' has no attribute 'Verify'"):
        getattr(sv, "Verify")  # noqa: B009


def test_a_speaker_is_enrolled_from_several_recordings(exp: Path, tmp_path: Path) -> None:
    verifier, files = Verifier(exp, gpus="none"), [write(tmp_path / f"{seed}.wav", noise(seed)) for seed in range(3)]
    speaker = verifier.enroll([files[0], noise(1)])
    assert repr(speaker) == "Speaker(recordings=<2, 4.00 s in all>)"
    assert repr(speaker.recordings[0]) == "Recording(duration_s=2.00, embedding=<8 numbers>, warnings=())"
    units = [row / np.linalg.norm(row) for row in map(verifier.embed, files)]
    mean = (units[0] + verifier.embed(noise(1)) / np.linalg.norm(verifier.embed(noise(1)))) / 2
    assert verifier.score(speaker, files[2]).cosine == pytest.approx(mean @ units[2] / np.linalg.norm(mean), abs=1e-5)
    alone = verifier.score(verifier.enroll([files[0]]), files[2])
    assert alone == verifier.score(files[0], files[2]) == verifier.score(verifier.embed_recording(files[0]), files[2])
    single = [str(files[0]), files[0], speaker.recordings[0], noise(0), torch.ones(9)]
    for wrong in ([], *single, (path for path in files)):
        with pytest.raises(UserError, match=r"enroll: give a list of one or more recordings, as in \['a1\.wav'"):
            verifier.enroll(wrong)  # type: ignore[arg-type]


def test_embeddings_of_another_system_are_refused(exp: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(exp, tmp_path / "exp"))
    (other / "config.yaml").write_text((exp / "config.yaml").read_text().replace("window: hamming", "window: povey"))
    verifier, foreign = Verifier(exp, gpus="none"), Verifier(other, gpus="none").enroll([noise(0)])
    told = "embedded by another model or front-end; embed or enroll it again with this one"
    for side in (foreign, foreign.recordings[0]):
        with pytest.raises(UserError, match=f"^second waveform: {told}$"):
            verifier.score(noise(0), side)
        found = list(verifier.score_each([(noise(0), noise(0)), (side, noise(0))]))
        assert str(found[1]) == f"first waveform of pair 2: {told}"
    with pytest.raises(UserError, match=f"^recording 2: {told}$"):
        verifier.enroll([noise(0), foreign.recordings[0]])


def test_telephone_speech_at_a_higher_rate_is_told(exp: Path) -> None:
    verifier, wide = Verifier(exp, gpus="none"), noise(0)
    narrow = resample(torch.from_numpy(wide), RATE, 8000).numpy()
    upsampled = resample(torch.from_numpy(narrow), 8000, RATE).numpy()
    warning = "first waveform has nothing above 5 kHz, as telephone speech: scores are less reliable"
    assert verifier.score(wide, wide).warnings == ()
    assert verifier.score(upsampled, wide).warnings == (warning,)
    assert verifier.embed_recording(narrow, "x", sample_rate=8000).warnings == (warning.replace("first waveform", "x"),)


def test_a_bad_recording_spoils_only_its_own_pairs(exp: Path) -> None:
    verifier, waveforms = Verifier(exp, gpus="none"), [noise(0), noise(1)]
    good, bad = verifier.score(*waveforms), waveforms[0][:100]
    found = list(verifier.score_each([waveforms, (bad, waveforms[0]), (waveforms[0], bad), waveforms, None]))  # type: ignore[list-item]
    assert found[0] == found[3] == good
    assert [str(error).partition(",")[0] for error in found[1:3]] == ["first waveform of pair 2: too short"] * 2
    assert "pair 5: give two recordings" in str(found[4])


def test_embedding_is_that_of_fbank_and_encoder_and_batches_agree(exp: Path, tmp_path: Path) -> None:
    verifier = Verifier.load(exp, gpus="none")
    files = [write(tmp_path / f"{seed}.wav", noise(seed, 1.5 + seed)) for seed in range(3)]
    assert verifier.embed(files[0]).shape == (8,)
    pairs = [(files[0], files[1]), (files[0], files[2])]
    assert verifier.score_batch(pairs) == [verifier.score(*pair) for pair in pairs]


def test_quality_measures_of_two_recordings_are_used(exp: Path) -> None:
    verifier, short, long = Verifier.load(exp, gpus="none"), noise(0, 2.0), noise(0, 3.0)
    verifier.calibration = Calibration(["score", "duration_min", "duration_max"], [0.0, 1.0, 10.0], 0.5, 0.05)
    assert verifier.score(long, short).llr == pytest.approx(2 + 30 + 0.5)


def test_unusable_options_and_folders_are_named(exp: Path, tmp_path: Path) -> None:
    verifier = Verifier.load(exp, gpus="none")
    with pytest.raises(UserError, match="unknown threshold 'err'; did you mean 'eer'"):
        verifier.score(noise(0), noise(1), threshold="err")
    for name, value in (("prior", "0.5"), ("threshold", True), ("threshold", math.nan), ("margin", None)):
        with pytest.raises(UserError, match=f"{name} {value!r}: expected a finite number"):
            verifier.score(noise(0), noise(1), **{name: value})  # type: ignore[arg-type]
    for prior in (0.0, 1.0):
        with pytest.raises(UserError, match=f"prior {prior}: expected a probability between 0 and 1"):
            verifier.score_batch([], prior=prior)
    with pytest.raises(UserError, match="--gpus 99: no GPU 99 here"):
        Verifier.load(exp, gpus=99)
    path = exp / "calibration" / "cos.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "features": ["cohort_min"]}))
    with pytest.raises(UserError, match="cohort_min, which cannot be computed from two recordings"):
        Verifier.load(exp)
    path.write_text(json.dumps({**json.loads(before), "trained_on": {"model_sha256": "0" * 64}}))
    with pytest.raises(UserError, match=r"cos\.json is of another model; calibrate it: stages 4 to 7"):
        Verifier.load(exp)
    path.write_text(before)
    with pytest.raises(UserError, match=r"cos\.json is a file; give the folder of a trained system"):
        Verifier.load(path)


def test_what_is_missing_is_named_before_the_calibration(exp: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml does not exist; train the system first \(stage 3\)"):
        Verifier.load(tmp_path)
    config, model = tmp_path / "config.yaml", tmp_path / "models" / "avg_model.pt"
    config.write_text((exp / "config.yaml").read_text().replace("model: resnet_small", "model: ResNet35"))
    with pytest.raises(UserError, match=r"config\.yaml: unknown model 'ResNet35'; did you mean"):
        Verifier.load(tmp_path)
    shutil.copy(exp / "config.yaml", config)
    with pytest.raises(UserError, match=r"avg_model\.pt does not exist; train the system \(stage 3\)"):
        Verifier.load(tmp_path)
    model.parent.mkdir()
    shutil.copy(exp / "models" / "avg_model.pt", model)
    with pytest.raises(UserError, match=r"thresholds\.json does not exist; calibrate it: stages 4 to 7, or on"):
        Verifier.load(tmp_path)


def test_calibration_for_another_front_end_is_refused(exp: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(exp, tmp_path / "exp"))
    path, config = other / "calibration" / "cos.json", other / "config.yaml"
    fingerprint = Verifier.load(exp, gpus="none").fingerprint
    path.write_text(json.dumps({**json.loads(path.read_text()), "trained_on": {"fingerprint": fingerprint}}))
    assert Verifier.load(other, gpus="none").fingerprint == fingerprint
    config.write_text(config.read_text().replace("window: hamming", "window: povey"))
    with pytest.raises(UserError, match=r"cos\.json is of another model and front-end; calibrate it: stages 4 to 7"):
        Verifier.load(other)


def test_mean_and_back_end_are_those_of_the_calibration(exp: Path) -> None:
    path = exp / "calibration" / "cos.json"
    before = path.read_text()
    refused = {
        "mean_sha256": r"mean\.npy is not the mean that the calibration was made with; calibrate it",
        "backend": r"cos\.json calibrates scores by plda, not by cos; calibrate it: stages 4 to 7",
    }
    for key, message in refused.items():
        path.write_text(json.dumps({**json.loads(before), "trained_on": {"mean": "mean.npy", key: "plda"}}))
        with pytest.raises(UserError, match=message):
            Verifier.load(exp)
    path.write_text(before)


@pytest.mark.parametrize("mean", [np.zeros(7), np.full(8, np.nan)])
def test_mean_of_another_model_or_damaged_is_named(exp: Path, mean: np.ndarray) -> None:
    before = (exp / "mean.npy").read_bytes()
    np.save(exp / "mean.npy", mean)
    with pytest.raises(UserError, match=r"mean\.npy: expected 8 finite numbers; make it again"):
        Verifier.load(exp)
    (exp / "mean.npy").write_bytes(before)


@pytest.mark.parametrize("entry", [{}, {"eer": {}}, {"eer": 3}, {"eer": {"llr": "x"}}, {"eer": {"llr": math.nan}}])
def test_damaged_thresholds_are_named(exp: Path, entry: dict) -> None:
    path = exp / "thresholds.json"
    before = path.read_text()
    path.write_text(json.dumps({"cos": entry}))
    with pytest.raises(UserError, match=r"thresholds\.json is damaged"):
        Verifier.load(exp)
    path.write_text(before)


def test_waveforms_by_the_batch_and_nothing_else(exp: Path, tmp_path: Path) -> None:
    verifier, file = Verifier.load(exp, gpus="none"), write(tmp_path / "a.wav", noise(0))
    one, other = noise(1), noise(2)
    verdicts = verifier.score_batch([(one, other), (file, one)])
    assert verdicts == [verifier.score(one, other), verifier.score(file, one)]
    assert verifier.score_batch([]) == []
    assert verifier.score_batch(pair for pair in [(one, other)]) == verdicts[:1]
    assert verifier.score(one, torch.from_numpy(one).bfloat16()).cosine == pytest.approx(1, abs=1e-2)
    for stacked in (
        [np.stack([one, other])],
        np.stack([one, other])[None],
        torch.from_numpy(np.stack([one, other]))[None],
    ):
        assert verifier.score_batch(stacked) == verdicts[:1]
    with pytest.raises(UserError, match="second waveform of pair 2: too short"):
        verifier.score_batch([(one, other), (one, other[:100])])
    with pytest.raises(UserError, match=r"pair 1: give two recordings, as in \[\('a\.wav', 'b\.wav'\)\]"):
        verifier.score_batch([str(file), str(file)])  # type: ignore[list-item]
    with pytest.raises(UserError, match=r"^a Recording; give a list of pairs, as in \[\('a\.wav', 'b\.wav'\)\]"):
        verifier.score_batch(verifier.embed_recording(one))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="pair 2: give two recordings"):
        verifier.score_batch([(one, other), None])  # type: ignore[list-item]


def test_a_recording_that_comes_several_times_is_embedded_once(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, waveforms = Verifier.load(exp, gpus="none"), [noise(seed) for seed in range(3)]
    embedded: list[str] = []

    def embed_recording(audio: np.ndarray, name: str, **options: object) -> Recording:
        embedded.append(name)
        return Recording(2.0, audio[:8], "")

    monkeypatch.setattr(verifier, "embed_recording", embed_recording)
    verifier.score_batch([(waveforms[0], waveforms[1]), (waveforms[0], waveforms[2])])
    assert embedded == ["first waveform of pair 1", "second waveform of pair 1", "second waveform of pair 2"]


def test_an_array_that_is_filled_again_is_another_recording(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, buffer = Verifier.load(exp, gpus="none"), np.empty(16000, np.float32)
    monkeypatch.setattr(verifier, "embed_recording", lambda audio, *_, **__: Recording(2.0, audio[:8].copy(), ""))

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for seed in range(2):
            buffer[:] = noise(seed)[:16000]
            yield noise(0)[:16000], buffer

    assert [verdict.cosine > 0.99 for verdict in verifier.score_batch(pairs())] == [True, False]


def test_verdict_is_plain_values(exp: Path) -> None:
    verdict = Verifier.load(exp, gpus="none").score(noise(0), noise(0))
    json.dumps(dataclasses.asdict(verdict))
