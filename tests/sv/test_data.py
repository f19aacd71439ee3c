"""Reading training data: the index of a data dir, crops, sampling, and batches read in the background."""

import struct
from pathlib import Path

import numpy as np
import pytest

from sv.data import ArkDataset, ArkReader, Loader, Sampler, UtteranceSampler, read_index, rows_of, uniform
from sv.data.ark_reader import crop_starts
from sv.data.sampling import GroupSampler, LengthSampler, SpeakerSampler
from sv.errors import UserError
from sv.io import ArkWriter, read_matrix, read_table, write_table

MELS = 5


def make_dir(folder: Path, lengths: dict[str, int], *, compress: bool = True, mels: int = MELS) -> Path:
    """A data dir with random features; speakers are what stands before the dash."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=compress) as writer:
        for utt in sorted(lengths):
            writer.write(utt, rng.normal(10, 3, (lengths[utt], mels)).astype(np.float32))
    write_table(folder / "utt2num_frames", lengths)
    write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in lengths})
    return folder


def three(folder: Path, **options: bool) -> ArkReader:
    return ArkReader(read_index(make_dir(folder, {"a-1": 30, "b-1": 7, "b-2": 12}, **options)), MELS)


def test_index_holds_what_the_tables_say(tmp_path):
    index = read_index(make_dir(tmp_path, {"b-1": 7, "a-1": 30, "a-2": 8}))
    assert [index.utts[i] for i in range(len(index))] == ["a-1", "a-2", "b-1"]
    assert index.speakers == ["a", "b"]
    assert index.speaker.tolist() == [0, 0, 1]
    assert index.num_frames.tolist() == [30, 8, 7]


def test_renumbered_speakers_leave_out_the_others(tmp_path):
    index = read_index(make_dir(tmp_path, {"a-1": 9, "b-1": 9, "c-1": 9})).with_speakers(["c", "a"])
    assert index.speaker.tolist() == [1, -1, 0]


def test_fingerprint_sees_a_change_of_frames(tmp_path):
    one = read_index(make_dir(tmp_path / "1", {"a-1": 9, "b-1": 9}))
    same = read_index(make_dir(tmp_path / "2", {"a-1": 9, "b-1": 9}))
    other = read_index(make_dir(tmp_path / "3", {"a-1": 9, "b-1": 8}))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("compress", [True, False])
def test_crop_is_the_rows_of_the_matrix(tmp_path, compress):
    reader = three(tmp_path, compress=compress)
    locations = list(read_table(tmp_path / "feats.scp").values())
    crops = reader.crops(np.array([2, 0]), np.array([3, 20]), 6, center=False)
    np.testing.assert_allclose(crops[0], read_matrix(locations[2])[3:9], rtol=1e-6)
    np.testing.assert_allclose(crops[1], read_matrix(locations[0])[20:26], rtol=1e-6)


def test_centred_crop_has_the_mean_of_its_own_frames_subtracted(tmp_path):
    reader = three(tmp_path)
    plain = reader.crops(np.array([0]), np.array([5]), 10, center=False)[0]
    centred = reader.crops(np.array([0]), np.array([5]), 10, center=True)[0]
    np.testing.assert_allclose(centred, plain - plain.mean(axis=0), atol=1e-5)


def test_short_utterance_is_repeated_to_fill_the_crop(tmp_path):
    reader = three(tmp_path)
    whole = reader.whole(1, center=False)
    assert whole.shape == (7, MELS)
    crop = reader.crops(np.array([1]), np.array([0]), 17, center=False)[0]
    np.testing.assert_array_equal(crop, np.concatenate([whole, whole, whole])[:17])


@pytest.mark.parametrize("method", [2, 3, 5])
def test_forms_that_kaldiio_writes_are_read(tmp_path, method):
    """Kaldi's CM, CM2 and CM3 (kaldiio's methods 2, 3 and 5)."""
    kaldiio = pytest.importorskip("kaldiio")
    folder = make_dir(tmp_path, {"a-1": 30, "b-1": 20})
    ark, scp = str(folder / "other.ark"), str(folder / "feats.scp")
    matrices = {u: np.random.default_rng(1).normal(size=(n, MELS)).astype("f4") for u, n in (("a-1", 30), ("b-1", 20))}
    with kaldiio.WriteHelper(f"ark,scp:{ark},{scp}", compression_method=method) as writer:
        for utt, matrix in matrices.items():
            writer(utt, matrix)
    reader = ArkReader(read_index(folder), MELS)
    crops = reader.crops(np.array([0, 1]), np.array([11, 4]), 9, center=False)
    for crop, utt, start in zip(crops, matrices, (11, 4), strict=True):
        np.testing.assert_allclose(crop, kaldiio.load_scp(scp)[utt][start : start + 9], atol=1e-5)


def test_starts_cover_all_places_that_fit():
    draws = np.linspace(0, 1, 1000, endpoint=False)
    starts = crop_starts(np.full(1000, 12, np.int32), 10, draws)
    assert np.bincount(starts).tolist() == [334, 333, 333]
    assert crop_starts(np.array([4], np.int32), 10, np.array([0.99])).tolist() == [0]


def test_uniform_depends_on_each_of_its_words_and_fills_the_interval():
    items = np.arange(20000)
    draws = uniform(1, 2, items)
    assert 0 <= draws.min() < 1e-3 < 0.999 < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01
    assert np.histogram(draws, 10)[0].min() > 1800
    others = [uniform(2, 2, items), uniform(1, 3, items), uniform(1, 2, items + 20000), uniform(1, 2, items, stream=1)]
    assert all(abs(np.corrcoef(draws, other)[0, 1]) < 0.03 for other in others)
    np.testing.assert_array_equal(uniform(1, 2, items[5:9]), draws[5:9])


def test_an_epoch_takes_every_utterance_once_and_leaves_out_the_rest_of_a_batch():
    sampler = UtteranceSampler(np.arange(100, 150), global_batch=8, seed=3)
    seen = np.concatenate([sampler.step(1, step) for step in range(sampler.steps)])
    assert sampler.steps == 6
    assert len(set(seen.tolist())) == 48
    assert set(seen) <= set(range(100, 150))
    assert sampler.step(1, 0).tolist() != sampler.step(2, 0).tolist()
    assert UtteranceSampler(np.arange(50), global_batch=8, seed=3, per_epoch=20).steps == 2


COUNTS = {0: 40, 2: 9, 5: 1, 6: 2, 7: 30, 9: 14}  # utterances of each speaker, 96 in all
SPEAKER = np.repeat(np.array(list(COUNTS)), list(COUNTS.values())).astype(np.int32)
ROWS = np.arange(96) * 3 + 7  # of an index that holds others, too
SAMPLERS = {
    "utterance": lambda **options: UtteranceSampler(ROWS, 8, **options),
    "speaker": lambda **options: SpeakerSampler(ROWS, 8, speaker=SPEAKER, **options),
    "pxk": lambda **options: GroupSampler(ROWS, 8, speaker=SPEAKER, group=2, **options),
    "length": lambda **options: LengthSampler(ROWS, 8, num_frames=100 + 5 * np.arange(96), **options),
}


def speakers_of(draws):
    return SPEAKER[(rows_of(draws) - 7) // 3]


def epoch_of(sampler: Sampler, epoch: int = 1) -> np.ndarray:
    """(steps, batch) draws."""
    return np.stack([sampler.step(epoch, step) for step in range(sampler.steps)])


@pytest.mark.parametrize("name", SAMPLERS)
def test_processes_share_the_batch_of_one(name):
    sampler = SAMPLERS[name](seed=0)
    shares = [sampler.step(5, 2, rank, 4) for rank in range(4)]
    assert all(len(share) == 2 for share in shares)
    np.testing.assert_array_equal(np.concatenate(shares), sampler.step(5, 2))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_depends_on_seed_epoch_and_step_alone(name):
    sampler = SAMPLERS[name](seed=3)
    whole = epoch_of(sampler, 4)
    epoch_of(sampler, 1)
    np.testing.assert_array_equal(SAMPLERS[name](seed=3).step(4, 9), whole[9])  # as after a resume
    np.testing.assert_array_equal(sampler.step(4, 9), whole[9])
    assert (epoch_of(sampler, 5) != whole).any()
    assert (epoch_of(SAMPLERS[name](seed=4), 4) != whole).any()


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_has_no_draw_twice_and_may_be_cut_short(name):
    sampler = SAMPLERS[name](seed=1)
    assert sampler.steps == 12
    assert len(set(epoch_of(sampler).ravel().tolist())) == 96
    assert set(rows_of(epoch_of(sampler).ravel())) <= set(ROWS)
    assert SAMPLERS[name](seed=1, per_epoch=20).steps == 2
    np.testing.assert_array_equal(rows_of(np.array([5 + (3 << 32), 7])), [5, 7])


@pytest.mark.parametrize("name", ["utterance", "length"])
def test_utterance_and_length_samplers_take_each_utterance_once(name):
    assert set(epoch_of(SAMPLERS[name](seed=1)).ravel().tolist()) == set(ROWS.tolist())


def test_speakers_are_drawn_equally_often_and_their_utterances_as_well():
    draws = epoch_of(SAMPLERS["speaker"](seed=1)).ravel()
    assert [int((speakers_of(draws) == speaker).sum()) for speaker in COUNTS] == [16] * 6
    for first in range(0, 96, 6):  # each round has every speaker
        assert set(speakers_of(draws[first : first + 6])) == set(COUNTS)
    for speaker, count in COUNTS.items():
        times = np.unique(rows_of(draws[speakers_of(draws) == speaker]), return_counts=True)[1]
        assert len(times) == min(count, 16)
        assert times.max() - times.min() <= 1
        assert (draws[speakers_of(draws) == speaker] >> 32).max() == (16 - 1) // count


def test_a_step_of_pxk_has_p_speakers_and_k_utterances_of_each():
    sampler = SAMPLERS["pxk"](seed=1)
    seen = set()
    for step in epoch_of(sampler):
        groups = speakers_of(step).reshape(4, 2)
        assert (groups[:, 0] == groups[:, 1]).all()
        assert len(set(groups[:, 0])) == 4
        for speaker, pair in zip(groups[:, 0], rows_of(step).reshape(4, 2), strict=True):
            assert (pair[0] == pair[1]) == (COUNTS[speaker] == 1)  # another crop of the only utterance
            assert pair[0] != pair[1] or len(set(uniform(0, 1, step))) == 8
        seen |= set(groups[:, 0])
    assert seen == set(COUNTS)


def test_pxk_deals_out_all_speakers_alike():
    speaker = np.repeat(np.arange(8), 12).astype(np.int32)
    draws = epoch_of(GroupSampler(ROWS, 8, seed=2, speaker=speaker, group=2))
    times = np.bincount(speaker[(draws[:, ::2].ravel() - 7) // 3])
    assert times.tolist() == [6] * 8
    assert set(draws.ravel()) == set(ROWS)  # 6 times 2 of the 12 of each


def test_a_batch_of_the_length_sampler_has_much_the_same_length():
    sampler = SAMPLERS["length"](seed=1)
    length = {row: 100 + 5 * i for i, row in enumerate(ROWS.tolist())}
    batches = np.array([[length[row] for row in step] for step in epoch_of(sampler).tolist()])
    assert (batches.max(axis=1) / batches.min(axis=1)).max() < 1.55  # of 100 to 575
    assert (np.diff(batches.mean(axis=1)) < 0).any()  # the batches come in any order
    assert (np.diff(batches, axis=1) < 0).any(axis=1).all()  # and so do utterances in a batch, for processes to share
    assert {frozenset(step) for step in epoch_of(sampler, 1)} != {frozenset(step) for step in epoch_of(sampler, 2)}


@pytest.mark.parametrize(
    ("batch", "group", "message"),
    [
        (8, 1, r"utts_per_speaker \(K\) is 1; groups take 2 or more"),
        (9, 2, r"a batch of 9 is no multiple of 2 utterances a speaker; mend dataloader_args.batch_size"),
        (14, 2, r"a batch of 14 is 7 speakers x 2 utterances, and there are 6 speakers; set a smaller"),
    ],
)
def test_batches_that_pxk_can_not_make_are_refused(batch, group, message):
    with pytest.raises(UserError, match=message):
        GroupSampler(ROWS, batch, seed=0, speaker=SPEAKER, group=group)


def test_processes_that_can_not_share_a_step_are_refused():
    with pytest.raises(UserError, match=r"3 processes can not share batches of 8 evenly"):
        SAMPLERS["utterance"](seed=0).check_processes(3)
    SAMPLERS["pxk"](seed=0).check_processes(4)
    with pytest.raises(UserError, match=r"8 processes can not share batches of 4 speakers x 2 utterances evenly"):
        Loader(None, SAMPLERS["pxk"](seed=0), world=8, num_workers=0)


def test_an_utterance_twice_in_a_batch_gives_two_crops(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {"a-1": 400, "b-1": 400, "b-2": 400})), MELS)
    sampler = GroupSampler(np.arange(3), 2, seed=0, speaker=reader.index.speaker, group=2)
    batches = [ArkDataset(reader, num_frms=6, seed=1).batch(sampler.step(epoch, 0), epoch) for epoch in range(1, 9)]
    alone = [batch for batch in batches if batch.speaker.tolist() == [0, 0]]
    assert alone
    for batch in alone:
        assert rows_of(batch.utts).tolist() == [0, 0]
        assert not batch.features[0].equal(batch.features[1])


def test_too_few_utterances_for_a_batch_are_refused():
    with pytest.raises(UserError, match="7 utterances to train on, fewer than a batch of 8"):
        UtteranceSampler(np.arange(7), global_batch=8, seed=0)


def loader(reader: ArkReader, num_workers: int) -> Loader:
    sampler = UtteranceSampler(np.arange(len(reader.index)), global_batch=4, seed=1)
    return Loader(ArkDataset(reader, num_frms=6, seed=1), sampler, num_workers=num_workers, prefetch=2)


def test_batches_are_the_same_with_any_number_of_workers_and_from_any_step(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {f"{c}-{i}": 9 + i for c in "abcde" for i in range(5)})), MELS)
    plain = list(loader(reader, 0).epoch(2))
    assert len(plain) == 6
    for workers, first in ((1, 0), (3, 0), (2, 4)):
        for batch, expected in zip(loader(reader, workers).epoch(2, first), plain[first:], strict=True):
            assert batch.features.equal(expected.features)
            assert batch.speaker.equal(expected.speaker)
            assert batch.utts.tolist() == expected.utts.tolist()
    assert batch.features.shape == (4, 6, MELS)
    assert batch.speaker.tolist() == reader.index.speaker[batch.utts].tolist()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_archive_cut_off_in_mid_training_names_utterance_and_file(tmp_path, num_workers):
    reader = three(tmp_path)
    reader.crops(np.arange(3), np.zeros(3, np.int64), 5, center=True)
    with open(tmp_path / "feats.ark", "r+b") as f:
        f.truncate(60)
    sampler = UtteranceSampler(np.arange(3), global_batch=3, seed=0)
    batches = Loader(ArkDataset(reader, num_frms=5, seed=0), sampler, num_workers=num_workers)
    with pytest.raises(UserError, match=r"feats.scp:\d: \w-\d: .*feats.ark ends in mid-matrix"):
        next(batches.epoch(1))


def test_a_truncated_archive_is_found_before_training(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 30, "b-1": 7})
    ark = folder / "feats.ark"
    ark.write_bytes(ark.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"feats.scp: b-1: .*does not fit .* truncated"):
        read_index(folder)


def test_missing_tables_name_the_stage_that_makes_them(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 9})
    (folder / "utt2num_frames").unlink()
    with pytest.raises(UserError, match=r"utt2num_frames does not exist; make it with steps/make_fbank.sh \(stage 2\)"):
        read_index(folder)
    (folder / "feats.scp").unlink()
    with pytest.raises(UserError, match=r"feats.scp does not exist; make it with steps/make_fbank.sh \(stage 2\)"):
        read_index(folder)
    with pytest.raises(UserError, match="is not a data directory"):
        read_index(tmp_path / "none")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("utt2spk", "a-1 a\n", r"feats.scp:2: b-1 is not in utt2spk; run tools/fix_data_dir.sh"),
        ("utt2spk", "a-1 a\na-2 a\nb-1 b\n", r"utt2spk:2: a-2 is not in feats.scp"),
        ("utt2spk", "a-1 a\nb-1 b\nc-1 c\n", r"utt2spk:3: c-1 is not in feats.scp"),
        ("utt2num_frames", "a-1 9\nb-1 x\n", r"utt2num_frames:2: b-1 has 'x' frames"),
        ("utt2num_frames", "a-1 9\nb-1 0\n", r"utt2num_frames:2: b-1 has '0' frames"),
        ("feats.scp", "", r"feats.scp"),
        ("utt2spk", "a-1\nb-1 b\n", r"utt2spk:1: expected 'key value'"),
    ],
)
def test_tables_that_disagree_are_refused_by_line(tmp_path, table, text, message):
    folder = make_dir(tmp_path, {"a-1": 9, "b-1": 9})
    (folder / table).write_text(text)
    with pytest.raises(UserError, match=message):
        read_index(folder)


@pytest.mark.parametrize(("order", "problem"), [("ba", "is not in LC_ALL=C order"), ("aa", "comes twice")])
def test_unsorted_and_duplicate_utterances_are_refused(tmp_path, order, problem):
    folder = make_dir(tmp_path, {"a-1": 9, "b-1": 9})
    for table in ("feats.scp", "utt2spk", "utt2num_frames"):
        lines = {line[0]: line for line in (folder / table).read_text().splitlines()}
        (folder / table).write_text("".join(f"{lines[c]}\n" for c in order))
    with pytest.raises(UserError, match=rf"feats.scp:2: a-1 {problem}; run tools/fix_data_dir.sh"):
        read_index(folder)


def test_matrix_of_another_dimension_or_length_is_refused(tmp_path):
    reader = ArkReader(read_index(make_dir(tmp_path, {"a-1": 9})), 80)
    with pytest.raises(UserError, match=r"dimension 5 \(CM2\), the configuration says 80 mel bins"):
        reader.whole(0, center=True)
    write_table(tmp_path / "utt2num_frames", {"a-1": 8})
    with pytest.raises(UserError, match="9 frames, utt2num_frames says 8"):
        ArkReader(read_index(tmp_path), MELS).whole(0, center=True)


def test_missing_archive_is_named(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 9})
    index = read_index(folder)
    (folder / "feats.ark").unlink()
    with pytest.raises(UserError, match=r"feats.scp: .*feats.ark does not exist"):
        ArkReader(index, MELS).whole(0, center=True)
    with pytest.raises(UserError, match=r"feats.ark does not exist"):
        read_index(folder)


def test_a_vector_among_the_features_is_refused(tmp_path):
    folder = make_dir(tmp_path, {"a-1": 1})
    (folder / "feats.ark").write_bytes(b"a-1 \0BFV \4" + struct.pack("<i", MELS) + bytes(4 * MELS))
    with pytest.raises(UserError, match=r"\(FV\)"):
        ArkReader(read_index(folder), MELS).whole(0, center=True)
