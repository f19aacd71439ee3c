"""The mini recipe, as a newcomer runs it: from nothing to a table of results."""

import json
import re
import shutil

import pytest
import torch

from sv.config import Override
from sv.data import ArkReader, read_index
from sv.io import ArkWriter, read_matrix, read_scp
from sv.losses import LOSSES, loss_options
from sv.scoring.thresholds import read_thresholds
from sv.system import make_system
from sv.training.distributed import World
from sv.training.heldout import HeldoutTest, choose_heldout, heldout_utts
from sv.training.network import build_network, read_model
from sv.training.run import train
from tests.egs.recipe import eer_of, evaluate_untrained

pytestmark = pytest.mark.recipe

ALONE = World(0, 1, torch.device("cpu"))
SHORT = [  # a training of some seconds; the margin is the same throughout, so that its losses can be compared
    "num_epochs=3",
    "num_avg=1",
    "dataset_args.num_frms=60",
    "dataset_args.min_num_frames=60",
    "dataset_args.fbank_args.num_mel_bins=40",
    "model_args.feat_dim=40",
    "heldout_utts=5",
    "dataloader_args.batch_size=16",
    "optimizer=AdamW",  # 75 steps are enough for every loss with it, and with SGD not for those with a large norm or K
    "scheduler_args.initial_lr=0.01",
    "scheduler_args.final_lr=0.001",
    "scheduler_args.warm_up_epoch=1",
    "scheduler_args.scale_with_batch=false",
    "margin_update.increase_type=fixed",
    "eval_epoch_interval=3",
    "save_epoch_interval=3",
    "log_batch_interval=1",
    "tensorboard=false",
]


@pytest.fixture(scope="module")
def mini(run, tmp_path_factory):
    """A finished run in a folder of its own; (folder, what the recipe printed)."""
    folder = tmp_path_factory.mktemp("mini")
    result = run("egs/mini/run.sh", *options(folder))
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result


def options(folder):
    names = {"--corpora": "corpora", "--data": "data", "--exp-dir": "exp"}
    return [word for option, name in names.items() for word in (option, folder / name)]


def test_ends_with_a_table(mini):
    folder, result = mini
    assert result.stdout.endswith((folder / "exp" / "results.txt").read_text())
    all_rows = (folder / "exp" / "results.md").read_text()
    page = (folder / "exp" / "report.html").read_text()
    assert '<td class="word">vox1_<wbr>O_<wbr>cleaned</td>' in page  # a narrow window breaks names there
    assert "| vox1_O_cleaned | fused |" in all_rows
    for backend in ("cos", "asnorm20", "plda"):
        assert f"| vox1_O_cleaned | {backend} |" in all_rows and f"| vox1_O_cleaned | {backend}_cali |" in all_rows
        assert read_thresholds(folder / "exp", backend)["measured_on"]["scores"].endswith("heldout.kaldi.score")


def test_stderr_has_some_lines_of_80_columns_and_the_logs_have_all(mini):
    folder, result = mini
    told = [line.partition(" ")[2] for line in result.stderr.splitlines()]
    assert told[:2] == [f"logs: {folder}/exp/log", "stage 0: synthetic corpus, stage0.log"]
    assert re.fullmatch(r"stage 1: data lists, stage1.log \(stage 0 took \d+ s\)", told[2])
    assert len(told) <= 25 and all(len(line) <= 71 for line in told if str(folder) not in line)  # the time takes 9
    log = (folder / "exp" / "log" / "stage7.log").read_text()
    assert "score.py: PLDA of dimension 30 in" in log and "PLDA of dimension" not in result.stderr


def test_training_ends_in_the_range_of_the_results_and_halves_the_eer_of_the_untrained_encoder(mini, run, step):
    folder, _ = mini
    trained = eer_of(folder / "exp", "vox1_O_cleaned.kaldi")
    untrained = evaluate_untrained(run, step, folder / "exp", folder / "data" / "vox1", "vox1_O_cleaned.kaldi")
    print(f"EER trained {trained:.2f} %, untrained {untrained:.2f} %")
    assert 8 <= trained <= 11.5  # egs/mini/RESULTS.md: over CPUs and threads
    assert trained <= untrained / 2


def test_a_second_run_does_nothing_again_and_ends_alike(mini, run):
    folder, first = mini
    made = [
        *folder.glob("corpora/**/*.wav"),
        *folder.glob("data/fbank/**/*.ark"),
        *folder.glob("exp/models/model_*.pt"),
    ]
    made += folder.glob("exp/embeddings/*/xvector.ark")
    before = {path: path.stat().st_mtime_ns for path in made}
    second = run("egs/mini/run.sh", "--stop-stage", 7, *options(folder))  # the report is always made again
    assert second.returncode == 0, second.stderr[-2000:]
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert second.stdout.endswith((folder / "exp" / "results.txt").read_text()) and first.stdout.endswith(second.stdout)


def test_a_dry_run_of_it_says_that_all_is_done_and_what_a_longer_training_would_be(mini, run):
    folder, _ = mini
    result = run("egs/mini/run.sh", "--dry-run", "true", *options(folder))
    assert result.returncode == 0, result.stderr
    for name, state in {"data/vox2_dev": "done", "data/vox1": "done", "exp": "complete (6 epochs)"}.items():
        assert f"{folder / name}: {state}\n" in result.stdout
    for name in ("vox1", "vox2_dev"):
        assert f"{folder}/exp/embeddings/{name}: done\n" in result.stdout
    words = ["--num-epochs", "40", "--num-nodes", "2", "--exp-dir", folder / "other"]
    longer = run("egs/mini/run.sh", "--dry-run", "true", *options(folder), *words)
    assert "40 epochs of 6 iterations, batch 64 in all" in longer.stdout
    assert f"{folder}/other/embeddings/vox1: to do\n" in longer.stdout
    words = ["--set", "heldout_speakers=6 dataset_args.fbank_args.low_freq=50", "--exp-dir", folder / "other"]
    other = run("egs/mini/run.sh", "--dry-run", "true", *options(folder), *words)
    assert f"{folder}/data/vox1: to do: low_freq is 20.0 there, now 50.0\n" in other.stdout
    assert f"its iterations depend on {folder}/data/vox2_dev/feats.scp, which stage 2 makes" in other.stdout
    assert not (folder / "other").exists()


@pytest.fixture(scope="module")
def data(mini, tmp_path_factory):
    """The recipe's training data with every other one of the 80 mels, which takes less time."""
    source, folder = mini[0] / "data" / "vox2_dev", tmp_path_factory.mktemp("mels")
    for name in ("utt2spk", "utt2num_frames"):
        shutil.copy(source / name, folder)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt, place in read_scp(source / "feats.scp").items():
            writer.write(utt, read_matrix(place)[:, 1::2])
    return folder


@pytest.fixture(scope="module")
def untrained(data, root):
    """The encoder as every training of seed 42 begins with it, and its EER in percent on the held-out speakers."""
    config = short_config(root, "softmax")
    index = read_index(data)
    heldout = choose_heldout(index, config.heldout_speakers, config.seed)
    utts = heldout_utts(index, heldout, config.heldout_utts, config.seed)
    torch.manual_seed(config.seed)
    encoder = build_network(config.model_copy(update={"num_speakers": 2})).backbone.eval()
    reader = ArkReader(index, config.dataset_args.fbank_args.num_mel_bins)
    return encoder, HeldoutTest(reader, utts, index.speaker[utts], config.dataset_args.cmvn).eer(encoder, ALONE)


def short_config(root, case):
    """Make the configuration of a short training with a loss, or with a loss and a way of mining."""
    name, *mining = case.split()
    words = [f"loss={name}", *SHORT, *(f"loss_args.mining={word}" for word in mining)]
    return make_system(root / "egs/mini/conf/resnet_small.yaml", [Override.of(word) for word in words])


@pytest.mark.parametrize(
    "loss", [*(name for name in LOSSES.names() if not loss_options(name, {}).needs_teacher), "triplet hardest"]
)
def test_every_loss_falls_by_a_fifth_and_beats_the_untrained_encoder(data, untrained, root, tmp_path, loss):
    """`--loss NAME` on the recipe's speech; what the held-out speakers say, and the loss at the first step."""
    encoder, untrained_eer = untrained
    train(short_config(root, loss), data, tmp_path, ALONE)
    first_weights = read_model(tmp_path / "models" / "model_0.pt")
    assert all(value.equal(first_weights[key]) for key, value in encoder.state_dict().items())
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, last = records[0], records[-1]
    eer = last["heldout_eer"]
    print(f"{loss}: loss {first['loss']:.3f} -> {last['loss']:.3f}, EER {untrained_eer:.2f} -> {eer:.2f} %")
    assert (first["kind"], first["step"], last["kind"], last["epoch"]) == ("step", 1, "epoch", 3)
    assert last["loss"] <= 0.8 * first["loss"]
    assert eer <= 0.7 * untrained_eer
