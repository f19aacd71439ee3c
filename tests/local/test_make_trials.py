import hashlib
import re
import tracemalloc
from collections import Counter
from itertools import combinations

import pytest

from local.make_trials import age_band, count_nontargets, draw_trials, nontarget_pairs, target_pairs
from sv.errors import UserError
from tests.conftest import ROOT

UTT2SPK = {f"s{spk}-{utt}": f"s{spk}" for spk in range(6) for utt in range(4)}
SEX = {f"s{spk}": "fm"[spk % 2] for spk in range(6)}


def all_pairs(same_speaker, group=None):
    for a, b in combinations(sorted(UTT2SPK), 2):
        spk_a, spk_b = UTT2SPK[a], UTT2SPK[b]
        if (spk_a == spk_b) == same_speaker and (group is None or group[spk_a] == group[spk_b]):
            yield a, b


def write_data_dir(folder, utt2spk=UTT2SPK, gender=SEX, age=None):
    age = age or dict.fromkeys(SEX, 20)
    folder.mkdir(parents=True)
    for name, table in (("utt2spk", utt2spk), ("spk2gender", gender), ("spk2age", age)):
        (folder / name).write_text("".join(f"{key} {value}\n" for key, value in table.items()))
    return folder


def test_all_target_pairs_if_they_are_few():
    assert target_pairs(UTT2SPK, 36, seed=1) == list(all_pairs(same_speaker=True))


def test_many_target_pairs_are_drawn_by_their_hash():
    drawn = sorted(
        all_pairs(same_speaker=True), key=lambda p: hashlib.sha256(f"7 target {p[0]} {p[1]}".encode()).digest()
    )
    assert target_pairs(UTT2SPK, 10, seed=7) == sorted(drawn[:10])
    assert target_pairs(UTT2SPK, 10, seed=8) != sorted(drawn[:10])


def test_memory_does_not_grow_with_the_number_of_pairs():
    utt2spk = {f"s-{utt}": "s" for utt in range(200)}  # 19,900 pairs, more than 1 MB
    tracemalloc.start()
    assert len(target_pairs(utt2spk, 10, seed=1)) == 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_nontargets_follow_the_rule():
    utts, expected, k = sorted(UTT2SPK), set(), 0
    while len(expected) < 30:
        digest = hashlib.sha256(f"3 H {k}".encode()).digest()
        a, b = (utts[int.from_bytes(part, "big") % 24] for part in (digest[:8], digest[8:16]))
        if a[:2] != b[:2] and SEX[a[:2]] == SEX[b[:2]]:
            expected.add((min(a, b), max(a, b)))
        k += 1
    assert nontarget_pairs(UTT2SPK, 30, 3, "H", SEX) == sorted(expected)


@pytest.mark.parametrize("group", [None, SEX])
def test_all_nontargets_if_too_few(group):
    everything = list(all_pairs(same_speaker=False, group=group))
    assert nontarget_pairs(UTT2SPK, 10**6, 1, "O", group) == everything
    assert count_nontargets(UTT2SPK, group) == len(everything)


def test_no_other_speaker_of_the_group_makes_no_pair():
    assert nontarget_pairs(UTT2SPK, 5, 1, "H", {spk: spk for spk in SEX}) == []


def test_order_of_the_table_does_not_matter():
    backwards = dict(reversed(UTT2SPK.items()))
    assert nontarget_pairs(backwards, 20, 1, "O") == nontarget_pairs(UTT2SPK, 20, 1, "O")
    assert target_pairs(backwards, 20, 1) == target_pairs(UTT2SPK, 20, 1)


def test_age_bands():
    assert [age_band(years) for years in (9, 10, 17, 18)] == ["under 10", "10 to 17", "10 to 17", "18 and over"]


def test_lists_hold_each_pair_once_and_h_keeps_sex_and_age(tmp_path, step):
    age = {spk: 8 if spk in ("s0", "s2", "s1", "s3") else 30 for spk in SEX}
    data = write_data_dir(tmp_path / "data", age=age)
    result = step("local/make_trials.py", "--seed", 1, "--num-target", 20, "--num-nontarget", 30, data)
    for name, line in zip("OH", result.stderr.splitlines(), strict=True):
        path = data / "trials" / f"{name}.kaldi"
        digits = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        assert line.endswith(f" make_trials.py: {path}: 20 targets, 30 nontargets, sha256 {digits}...")
        trials = [row.split() for row in path.read_text().splitlines()]
        assert trials == sorted(trials)
        assert Counter(label for *_, label in trials) == {"target": 20, "nontarget": 30}
        assert all(a < b for a, b, _ in trials)
        assert len({(a, b) for a, b, _ in trials}) == 50
        assert all((a[:2] == b[:2]) == (label == "target") for a, b, label in trials)
        if name == "H":
            assert all(SEX[a[:2]] == SEX[b[:2]] and age[a[:2]] == age[b[:2]] for a, b, _ in trials)


@pytest.mark.slow
def test_hash_seed_does_not_matter(tmp_path, run):
    data = write_data_dir(tmp_path / "data")
    said = [run("local/make_trials.py", data, tmp_path / "x", env={"PYTHONHASHSEED": s}).stderr for s in ("1", "2")]
    found = [re.findall(r": (\d+ targets, .*)", text) for text in said]
    assert found[0] == found[1] and "36 targets" in found[0][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gender": {"s0": "f"}}, r"spk2gender: speaker s1 has None"),
        ({"gender": dict.fromkeys(SEX, "x")}, r"spk2gender: speaker s0 has 'x'; write f or m"),
        ({"age": dict.fromkeys(SEX, "old")}, r"spk2age: speaker s0 has 'old'"),
        ({"age": {"s0": 3}}, r"spk2age: speaker s1 has None"),
    ],
)
def test_bad_tables_are_named_and_nothing_is_written(tmp_path, step, change, message):
    data = write_data_dir(tmp_path / "data", **change)
    result = step("local/make_trials.py", data)
    assert result.returncode == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert not (data / "trials").exists()


@pytest.mark.parametrize("option", ["--num-target", "--num-nontarget"])
def test_no_trials_are_a_wrong_call(tmp_path, step, option):
    result = step("local/make_trials.py", option, 0, write_data_dir(tmp_path / "data"))
    message = f"make_trials.py: error: {option} 0: expected a whole number of at least 1\n"
    assert (result.returncode, result.stderr) == (2, message)


def test_a_list_of_one_kind_of_trials_is_refused():
    with pytest.raises(UserError, match="list O: no target trial can be made"):
        draw_trials({"s0-0": "s0", "s1-0": "s1"}, SEX)
    with pytest.raises(UserError, match="list H: no nontarget trial can be made"):
        draw_trials({"s0-0": "s0", "s0-1": "s0", "s1-0": "s1"}, SEX)


def test_checksums_on_real_speech(corpora, tmp_path, step):
    """The numbers in egs/speechocean762/RESULTS.md are of these lists."""
    result = step("local/prepare_speechocean762.py", corpora / "speechocean762", tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"sha256 (\w+)", result.stderr) == ["825168a797eb4ee4", "079cde1298723dc4"]
    lines = (tmp_path / "test" / "trials" / "H.kaldi").read_text().splitlines()
    assert Counter(line.split()[2] for line in lines) == {"target": 3375, "nontarget": 12000}
    utts = [line.split()[0] for name in ("train", "test") for line in (tmp_path / name / "utt2spk").open()]
    assert sorted(utts) == (ROOT / "egs/speechocean762/results_utts").read_text().split()


def test_without_sex_and_age_there_is_only_list_o(tmp_path, step):
    data = write_data_dir(tmp_path / "data")
    (data / "spk2age").unlink()
    result = step("local/make_trials.py", data)
    assert result.returncode == 0, result.stderr
    assert "list H, of the same sex and age, is left out" in result.stderr
    assert [path.name for path in (data / "trials").iterdir()] == ["O.kaldi"]
