"""The speechocean762 recipe: a short training on real speech beats an untrained encoder; stages 5 to 7 for one list."""

from itertools import combinations

import numpy as np
import pytest

from sv.config import Override, save_config
from sv.io import ArkWriter, read_table, write_table
from sv.scoring.thresholds import read_thresholds
from sv.system import make_system
from tests.egs.recipe import eer_of, evaluate_untrained


def copy_part(corpus, part, utts_per_speaker, **speakers):
    """A corpus of some utterances of the first speakers of each set; its files are those of the whole one."""
    part.mkdir()
    (part / "WAVE").symlink_to(corpus / "WAVE")
    for name, number in speakers.items():
        tables = {table: read_table(corpus / name / table) for table in ("utt2spk", "wav.scp", "spk2gender", "spk2age")}
        kept = set(sorted(tables["spk2age"])[:number])
        for spk in sorted(kept):
            kept |= set([utt for utt, of in tables["utt2spk"].items() if of == spk][:utts_per_speaker])
        (part / name).mkdir()
        for table, lines in tables.items():
            write_table(part / name / table, {key: value for key, value in lines.items() if key in kept})


@pytest.mark.recipe
def test_three_epochs_lower_the_eer_by_five_points(run, step, corpora, tmp_path):
    """With ten utterances each of 30 of the training speakers and of 16 of the test speakers."""
    copy_part(corpora / "speechocean762", tmp_path / "corpus", 10, train=30, test=16)
    quick = "num_avg=1 dataloader_args.batch_size=16 dataset_args.num_frms=100 heldout_speakers=6"
    result = run(
        *["egs/speechocean762/run.sh", "--corpus", tmp_path / "corpus", "--num-epochs", 3, "--set", quick],
        *["--stop-stage", 5, "--nj", 1, "--num-threads", 1, "--speeds", 0.9],
        *["--data", tmp_path / "data", "--fbank", tmp_path / "fbank", "--exp-dir", tmp_path / "exp"],
    )
    assert result.returncode == 0, result.stderr[-3000:]
    trained = eer_of(tmp_path / "exp", "O.kaldi")
    untrained = evaluate_untrained(run, step, tmp_path / "exp", tmp_path / "data" / "test", "O.kaldi")
    print(f"EER after 3 epochs {trained:.2f} %, untrained {untrained:.2f} %")
    assert trained <= untrained - 5


def make_embeddings(data, embeddings, speakers):
    """A data dir with its lists, and random embeddings of five utterances a speaker."""
    rng = np.random.default_rng(speakers)
    utt2spk = {f"{spk:02}-{utt}": f"{spk:02}" for spk in range(speakers) for utt in range(5)}
    center = {spk: rng.normal(size=8) for spk in utt2spk.values()}
    data.mkdir(parents=True)
    write_table(data / "utt2spk", utt2spk)
    write_table(data / "spk2utt", {spk: " ".join(utt for utt in utt2spk if utt2spk[utt] == spk) for spk in center})
    write_table(data / "spk2gender", dict.fromkeys(center, "f"))
    write_table(data / "spk2age", dict.fromkeys(center, 9))
    with ArkWriter(embeddings / "xvector.ark", embeddings / "xvector.scp") as writer:
        for utt, spk in utt2spk.items():
            writer.write(utt, np.asarray(center[spk] + rng.normal(size=8), dtype=np.float32))
    np.save(embeddings / "mean_vec.npy", np.zeros(8, dtype=np.float32))


@pytest.mark.slow
def test_the_hard_list_alone_leaves_the_thresholds_that_verification_uses(run, root, tmp_path):
    data, exp = tmp_path / "data", tmp_path / "exp"
    for name, speakers in (("train", 12), ("test", 4)):
        make_embeddings(data / name, exp / "embeddings" / name, speakers)
    mini = root / "egs/speechocean762/conf/resnet_small.yaml"
    save_config(make_system(mini, [Override.of("heldout_speakers=4")]), exp / "config.yaml")
    write_table(exp / "heldout_spk", dict.fromkeys(["00", "01", "02", "03"], ""))
    pairs = combinations([f"0{spk}-{utt}" for spk in range(4) for utt in range(3)], 2)
    trials = [(pair, "target" if pair[0][:2] == pair[1][:2] else "nontarget") for pair in pairs]
    lists = data / "test" / "trials" / "H.kaldi"
    lists.parent.mkdir()
    lists.write_text("".join(f"{' '.join(pair)} {label}\n" for pair, label in trials))
    options = ["--data", data, "--exp-dir", exp, "--trials", "H.kaldi", "--lda-dim", 0, "--top-n", 5]
    result = run("egs/speechocean762/run.sh", "--stage", 5, "--stop-stage", 7, *options)
    assert result.returncode == 0, result.stderr[-3000:]
    for backend, prefix in (("cos", ""), ("asnorm5", "train_asnorm5_"), ("plda", "plda_")):
        assert f"| H | {backend}_cali |" in (exp / "results.md").read_text()
        found = [read_thresholds(exp, name)["measured_on"]["scores"] for name in (backend, f"{backend}_H")]
        assert found == [f"{prefix}heldout.kaldi.score", f"{prefix}heldout_H.kaldi.score"]
