"""Speakers set aside, and the EER on them."""

from itertools import combinations

import numpy as np
import pytest
import soundfile
import torch

from sv.config import DatasetArgs, FbankConfig
from sv.data import ArkReader, FbankReader, WavScpSource, index_waveforms, read_index
from sv.errors import UserError
from sv.io import ArkWriter, base_speaker, write_table
from sv.metrics.error_rates import eer, sort_scores
from sv.training.distributed import World
from sv.training.heldout import HeldoutTest, choose_heldout, heldout_utts, select_heldout, training_speakers

WORLD = World(0, 1, torch.device("cpu"))


def read(folder, utt2spk):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=True) as writer:
        for utt in sorted(utt2spk):
            writer.write(utt, rng.normal(size=(6, 4)))
    write_table(folder / "utt2num_frames", dict.fromkeys(utt2spk, 6))
    write_table(folder / "utt2spk", utt2spk)
    return read_index(folder)


def utt2spk(speakers, utts=3):
    return {f"{speaker}-{number}": speaker for speaker in speakers for number in range(utts)}


def test_chosen_speakers_and_their_copies_are_not_trained_on(tmp_path):
    names = [f"{copy}id{n}" for copy in ("", "sp0.9-", "sp1.1-") for n in range(6)]
    index = read(tmp_path, utt2spk(names))
    heldout = choose_heldout(index, 2, seed=1)
    assert len(heldout) == 2
    assert all(name.startswith("id") for name in heldout)
    left = training_speakers(index, heldout)
    assert len(left) == 12
    assert left == sorted(left)
    assert not {base_speaker(name) for name in left} & set(heldout)


def test_a_speaker_named_as_a_copy_is_trained_on(tmp_path):
    index = read(tmp_path, utt2spk(["sp1-a", "sp2-b", "c", "d"]))
    assert set(choose_heldout(index, 2, seed=0)) | set(choose_heldout(index, 2, seed=1)) > {"sp1-a"}
    assert training_speakers(index, ["c"]) == ["d", "sp1-a", "sp2-b"]


def test_speakers_with_a_pseudo_label_are_not_held_out(tmp_path):
    """One utterance whose label is from a clustering is enough: the cluster may have joined a labelled speaker."""
    index = read(tmp_path, utt2spk([f"id{n}" for n in range(6)]))
    is_pseudo = np.array([index.speakers[row] > "id3" or number == 7 for number, row in enumerate(index.speaker)])
    for seed in range(5):
        assert set(choose_heldout(index, 3, seed, is_pseudo)) == {"id0", "id1", "id3"}
    with pytest.raises(UserError, match=r"has 6 speakers \(3 with two recordings or more, all labelled\)"):
        choose_heldout(index, 4, 0, is_pseudo)


def test_the_choice_depends_on_the_seed_alone(tmp_path):
    index = read(tmp_path, utt2spk([f"id{n:02d}" for n in range(20)], utts=2))
    assert choose_heldout(index, 5, seed=1) == choose_heldout(index, 5, seed=1) != choose_heldout(index, 5, seed=2)
    assert choose_heldout(index, 0, seed=1) == []


def test_speakers_of_one_utterance_are_not_chosen(tmp_path):
    table = utt2spk(["a", "b", "c"]) | {"d-0": "d", "e-0": "e"}
    index = read(tmp_path, table)
    assert all(set(choose_heldout(index, 3, seed)) == {"a", "b", "c"} for seed in range(5))


def with_copies(index, folder):
    """Add an augmented copy of each utterance."""
    table = {index.utts[row]: index.speakers[number] for row, number in enumerate(index.speaker)}
    copies = {f"{utt}-reverb": speaker for utt, speaker in table.items()}
    write_table(folder / "utt2uniq", {utt: utt.removesuffix("-reverb") for utt in sorted(table | copies)})
    return read(folder, table | copies)


def test_augmented_copies_change_no_choice(tmp_path):
    names = [f"{copy}id{n:02d}" for copy in ("", "sp0.9-") for n in range(20)]
    plain = read(tmp_path / "plain", utt2spk(names[::2], utts=1) | utt2spk(names[1::2], utts=2))
    (tmp_path / "copies").mkdir()
    copies = with_copies(plain, tmp_path / "copies")
    for seed in range(5):
        chosen = choose_heldout(plain, 4, seed)
        assert choose_heldout(copies, 4, seed) == chosen and all(int(name[2:]) % 2 for name in chosen)
    assert choose_heldout(plain, 4, 42) == ["id03", "id05", "id15", "id17"]  # as any version must choose


@pytest.mark.parametrize("inherited", [False, True])
def test_listed_speakers_need_pairs_and_leave_some_to_train_on(tmp_path, inherited):
    index = with_copies(read(tmp_path, utt2spk("ab", utts=1) | utt2spk("cde")), tmp_path)
    path, model = tmp_path / "heldout_spk", None
    if inherited:
        path, model = tmp_path / "exp/heldout_spk", tmp_path / "exp/models/avg_model.pt"
        path.parent.mkdir()
    path.write_text("b\nc\n")
    assert select_heldout(index, model, 2, 0) == ["b", "c"]
    for names, told in (
        ("a\nb\n", f"lists no speaker who has two recordings in {tmp_path}; list others in {tmp_path}/heldout_spk, or"),
        ("a\nb\nc\nd\n", f"leaves 1 of 5 speakers of {tmp_path} to train on, and 2 are needed; list others"),
    ):
        path.write_text(names)
        with pytest.raises(UserError, match=f"^{path} {told}"):
            select_heldout(index, model, 2, 0)


@pytest.mark.parametrize(
    ("count", "message"), [(1, "gives no non-target pair"), (4, "has 4 speakers"), (3, "at least 2 must be left")]
)
def test_numbers_that_can_not_be_are_refused(tmp_path, count, message):
    index = read(tmp_path, utt2spk(["a", "b", "c", "d"]))
    with pytest.raises(UserError, match=message):
        choose_heldout(index, count, seed=0)


def test_a_capped_number_of_utterances_of_each_is_used(tmp_path):
    index = read(tmp_path, utt2spk(["a", "b", "c", "sp0.9-a"], utts=5))
    utts = heldout_utts(index, ["a", "c"], most=3, seed=0)
    assert [index.utts[i][0] for i in utts] == ["a"] * 3 + ["c"] * 3
    assert utts.tolist() == heldout_utts(index, ["a", "c"], most=3, seed=0).tolist()


def test_augmented_copies_are_not_measured_on(tmp_path):
    index = with_copies(read(tmp_path, utt2spk(["a", "b", "c"])), tmp_path)
    utts = heldout_utts(index, ["a", "c"], most=9, seed=0)
    assert [index.utts[i] for i in utts] == ["a-0", "a-1", "a-2", "c-0", "c-1", "c-2"]


class Mean(torch.nn.Module):
    embedding_dim = 4

    def forward(self, features):
        return features.square().mean(dim=1)


def test_eer_is_that_of_all_pairs(tmp_path):
    index = read(tmp_path, utt2spk(["a", "b", "c"], utts=4))
    reader = ArkReader(index, 4)
    test = HeldoutTest(reader, np.arange(12), index.speaker, center=False)
    rows = [np.square(reader.whole(i, center=False)).mean(axis=0) for i in range(12)]
    rows = np.stack(rows) - np.mean(rows, axis=0)
    scores = {True: [], False: []}
    for i, j in combinations(range(12), 2):
        cosine = rows[i] @ rows[j] / np.linalg.norm(rows[i]) / np.linalg.norm(rows[j])
        scores[bool(index.speaker[i] == index.speaker[j])].append(cosine)
    expected = eer(sort_scores(scores[True], scores[False]))
    assert test.eer(Mean(), WORLD) == pytest.approx(expected, abs=1e-6)


def test_a_heldout_utterance_that_can_not_be_read_is_told_and_left_out(tmp_path, caplog):
    rng, wavs = np.random.default_rng(0), {}
    for utt in (f"{spk}-{n}" for spk in "abc" for n in range(4)):
        wavs[utt] = tmp_path / f"{utt}.wav"
        soundfile.write(wavs[utt], rng.normal(0, 0.1, 4000), 16000)
    write_table(tmp_path / "wav.scp", wavs)
    write_table(tmp_path / "utt2spk", {utt: utt[0] for utt in wavs})
    source, args = WavScpSource(tmp_path), FbankConfig(num_mel_bins=4)
    index, reader = index_waveforms(source, tmp_path, args), FbankReader(source, DatasetArgs(fbank_args=args))
    readable = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    expected = HeldoutTest(reader, np.array(readable), index.speaker[readable], center=False).eer(Mean(), WORLD)
    (tmp_path / "b-1.wav").unlink()
    test = HeldoutTest(reader, np.arange(12), index.speaker, center=False)
    assert test.eer(Mean(), WORLD) == expected
    assert "held-out utterance left out: b-1: " in caplog.text and "b-1.wav does not exist" in caplog.text
    one_each = HeldoutTest(reader, np.array([0, 4, 8]), index.speaker[[0, 4, 8]], center=False)
    with pytest.raises(UserError, match="only 3 of 3 held-out utterances"):
        one_each.eer(Mean(), WORLD)
    for path in tmp_path.glob("[bc]-*.wav"):
        path.unlink()
    with pytest.raises(UserError, match="only 4 of 12 held-out utterances can be read"):
        test.eer(Mean(), WORLD)
