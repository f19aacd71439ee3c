"""Trials of held-out speakers: which pairs are drawn, and the list that is written."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.scoring.calibration_trials import draw_calibration_trials, read_groups, write_calibration_trials


def make_utts(speakers: int, videos: int, utts: int) -> dict[str, str]:
    return {f"s{s}/v{v}/{u}.wav": f"s{s}" for s in range(speakers) for v in range(videos) for u in range(utts)}


def test_calibration_trials_never_pair_an_utterance_with_itself_or_its_video() -> None:
    trials = draw_calibration_trials(make_utts(3, 2, 3))
    assert len({(a, b) for a, b, _ in trials}) == len(trials)
    assert len([1 for *_, same in trials if same]) == 3 * 9 and len([1 for *_, same in trials if not same]) == 3 * 36
    for first, second, same in trials:
        assert first < second
        assert (first.split("/")[0] == second.split("/")[0]) == same
        assert first.rsplit("/", 1)[0] != second.rsplit("/", 1)[0]


def test_drawn_calibration_trials_depend_on_the_seed_alone() -> None:
    utts = make_utts(20, 11, 10)  # 2,200: too many to list all pairs
    few = draw_calibration_trials(utts, num_target=50, num_nontarget=300, seed=1)
    assert few == draw_calibration_trials(dict(reversed(utts.items())), num_target=50, num_nontarget=300, seed=1)
    assert few != draw_calibration_trials(utts, num_target=50, num_nontarget=300, seed=2)
    assert [same for *_, same in few].count(True) == 50 and len(few) == 350


@pytest.mark.parametrize(("size", "expected"), [((6, 2, 3), 2 * 3 * 36), ((20, 11, 10), 400)])  # all pairs, drawn ones
def test_non_target_trials_are_of_one_group(size: tuple[int, int, int], expected: int) -> None:
    utts = make_utts(*size)
    group = {spk: "even" if int(spk[1:]) % 2 else "odd" for spk in utts.values()}
    trials = draw_calibration_trials(utts, num_nontarget=400, group=group)
    both = [(utts[a], utts[b]) for a, b, same in trials if not same]
    assert len(both) == expected
    assert all(a != b and group[a] == group[b] for a, b in both)
    assert {group[a] for a, _ in both} == {"even", "odd"}
    with pytest.raises(UserError, match="give two speakers of one group or more"):
        draw_calibration_trials(make_utts(2, 2, 2), group={"s0": "x", "s1": "y"})


def test_groups_are_what_the_tables_say(tmp_path: Path) -> None:
    (tmp_path / "spk2gender").write_text("a f\nb f\nc m\n")
    (tmp_path / "spk2age").write_text("a 9\nb 10\nc 9\n")
    assert read_groups(tmp_path, ["spk2gender", "spk2age"], ["a", "b", "c"]) == {
        "a": "f, 0 to 10",
        "b": "f, 10 to 18",
        "c": "m, 0 to 10",
    }
    with pytest.raises(UserError, match="spk2gender says nothing of speaker d; add it"):
        read_groups(tmp_path, ["spk2gender"], ["a", "d"])


def test_one_speaker_makes_no_calibration_trials() -> None:
    with pytest.raises(UserError, match=r"no non-target trial among the 1 speakers; give two speakers"):
        draw_calibration_trials({"a1": "a", "a2": "a"})
    with pytest.raises(UserError, match="no target trial"):
        draw_calibration_trials({"a/v/1": "a", "a/v/2": "a", "b/v/1": "b"})
    with pytest.raises(UserError, match="no target trial"):
        draw_calibration_trials({})  # none of their utterances could be read


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A data dir of three speakers with two utterances each; its experiment folder `exp` sets two of them aside."""
    (tmp_path / "utt2spk").write_text("".join(f"{s}{n} {s}\n" for s in "abc" for n in (1, 2)) + "sp0.9-a1 sp0.9-a\n")
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "heldout_spk").write_text("a\nb\n")
    return tmp_path


def written(system: Path, *same: str) -> list[str]:
    write_calibration_trials(system / "exp", system, "x.kaldi", same=same)
    return (system / "exp" / "calibration" / "x.kaldi").read_text().splitlines()


def test_list_is_of_the_held_out_speakers(system: Path) -> None:
    pairs = ["a1 a2 target", "a1 b1 nontarget", "a1 b2 nontarget", "a2 b1 nontarget", "a2 b2 nontarget", "b1 b2 target"]
    assert written(system) == pairs


def test_copies_of_one_utterance_make_no_target_trial(system: Path) -> None:
    (system / "utt2spk").write_text("a1 a\na1-noise a\na2 a\nb1 b\nb2 b\n")
    (system / "utt2uniq").write_text("a1 a1\na1-noise a1\na2 a2\nb1 b1\nb2 b2\n")
    targets = [line for line in written(system) if line.endswith(" target")]
    assert targets == ["a1 a2 target", "a1-noise a2 target", "b1 b2 target"]


def test_bad_utterances_are_left_out(system: Path) -> None:
    bad_list = system / "exp" / "embeddings" / system.name / "bad_utts"
    bad_list.parent.mkdir(parents=True)
    bad_list.write_text("a1 a1.wav is damaged\n")
    assert written(system) == ["a2 b1 nontarget", "a2 b2 nontarget", "b1 b2 target"]


def test_non_target_trials_are_the_same_by_a_table(system: Path, caplog: pytest.LogCaptureFixture) -> None:
    (system / "spk2gender").write_text("a f\nb m\nc f\n")
    (system / "exp" / "heldout_spk").write_text("a\nb\nc\n")
    nontargets = [line for line in written(system, "spk2gender") if "nontarget" in line]
    assert nontargets == [f"a{i} c{j} nontarget" for i in (1, 2) for j in (1, 2)]
    (system / "exp" / "heldout_spk").write_text("a\nb\n")
    assert "a1 b1 nontarget" in written(system, "spk2gender")
    assert (
        "no two of 2 held-out speakers have the same spk2gender: non-target trials are drawn from all pairs"
        in caplog.messages
    )


def test_held_out_speakers_that_are_missing_are_named(system: Path) -> None:
    for content, message in (("a\nz\n", "speaker z is not in"), ("", "is empty; give the data dir")):
        (system / "exp" / "heldout_spk").write_text(content)
        with pytest.raises(UserError, match=message):
            written(system)
    (system / "exp" / "heldout_spk").unlink()
    with pytest.raises(UserError, match="heldout_spk does not exist; train with"):
        written(system)
