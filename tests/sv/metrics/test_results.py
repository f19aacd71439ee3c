"""results.json: damaged files, several models, tables."""

import json
from pathlib import Path

import pytest

from sv.errors import UserError
from sv.metrics.measures import Entry
from sv.metrics.results import (
    KEYS,
    failed_calibration,
    markdown_table,
    merge_results,
    read_results,
    system_names,
    terminal_table,
)
from sv.metrics.seeds import seed_groups


def entry(**more: object) -> Entry:
    return {
        **dict.fromkeys(KEYS, 1),
        "eer": 2.0,
        "min_dcf": {"0.01": 0.5},
        "date": "2026-01-01",
        "trials_file": "none/O",
        **more,
    }


def test_systems_have_the_shortest_names_that_tell_them_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a/LM/round1", "b/LM/round1", "b/x/round1", "y")]
    assert system_names(folders) == ["a/LM/round1", "b/LM/round1", "x/round1", "y"]
    assert system_names([Path("/x"), Path("/a/x")]) == ["/x", "a/x"]


def test_seeds_of_a_system_have_names_that_differ_in_their_seed_alone(tmp_path: Path) -> None:
    seeds = {"m0.4": (1, 2, 3), "m0.2": (1, 2)}
    folders = [tmp_path / margin / f"C-seed{seed}" for margin, found in seeds.items() for seed in found]
    names = system_names(folders)
    assert names == [str(folder.relative_to(tmp_path)) for folder in folders]
    assert seed_groups(names) == {"m0.4/C (3 seeds)": names[:3], "m0.2/C (2 seeds)": names[3:]}
    assert system_names([tmp_path / "x" / "C-seed1", tmp_path / "y" / "C-seed2"]) == ["x/C-seed1", "y/C-seed2"]
    rounds = system_names([tmp_path / f"C-seed{seed}" / "round1" for seed in (1, 2)])
    assert seed_groups(rounds) == {"C/round1 (2 seeds)": ["C-seed1/round1", "C-seed2/round1"]}


def test_damaged_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(UserError, match=r"results\.json does not exist; score first \(stage 5\)"):
        read_results(path)
    lacking = entry()
    del lacking["eer_rocch"]
    for results in ("{", json.dumps({"results": {"H": {"cos": lacking}}}), '{"results": {"H": {"cos": []}}}'):
        path.write_text(results)
        with pytest.raises(UserError, match=r"is damaged; remove it and run the metrics again \(stages 5 to 7\)"):
            read_results(path)


def test_figures_of_another_model_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new, old = entry(model_sha256="b", date="2026-01-02"), entry(model_sha256="a")
    merge_results(tmp_path, {"O.kaldi": {"cos": new, "plda": old}, "H.kaldi": {"cos": new}})
    read_results(tmp_path / "results.json")
    assert (
        "results.json: O.kaldi plda are results of another model than O.kaldi cos, the last one measured;"
        in caplog.text
    )
    caplog.clear()
    old["model_sha256"] = "b"
    merge_results(tmp_path, {"O.kaldi": {"plda": old}})
    caplog.clear()
    read_results(tmp_path / "results.json")
    assert not caplog.records


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("model_sha256", "model"),
        ("fingerprint", "front-end"),
        ("training_sha256", "training data"),
        ("embeddings_sha256", "test data"),
    ],
)
def test_results_of_another_version_of_the_system_are_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, what: str
) -> None:
    old, new, unknown = entry(**{key: "a"}), entry(**{key: "b"}), entry()
    names = {"asnorm300": old, "cos": old, "cos_cali": old, "cos_own": old, "plda": unknown}
    merge_results(tmp_path, {"O.kaldi": names, "H.kaldi": {"plda": old}})
    found = merge_results(tmp_path, {"O.kaldi": {"cos": new}})
    others = {} if what == "test data" else {"H plda"}  # the embeddings of a list say nothing of other lists
    removed = ", ".join(["O asnorm300", "O cos_cali", *others])
    told = f"results.json: results of {removed} are removed: they are of another version of the {what}; score again"
    assert told in caplog.text
    assert list(found["O.kaldi"]) == ["cos", "cos_own", "plda"] and ("H.kaldi" in found) == (what == "test data")
    caplog.clear()
    merge_results(tmp_path, {"O.kaldi": {"cos_own": old}})  # a variant may be of another model
    assert "removed" not in caplog.text


def test_what_was_made_from_replaced_scores_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = {name: entry(scores_sha256=name) for name in ("cos", "plda")}
    made |= {"cos_cali": entry(sources_sha256=["cos"]), "plda_cali": entry(sources_sha256=["plda"])}
    made["fused"] = entry(sources_sha256=["cos", "plda"])
    merge_results(tmp_path, {"O.kaldi": made})
    assert list(merge_results(tmp_path, {"O.kaldi": {"plda": made["plda"]}})["O.kaldi"]) == sorted(made)
    found = merge_results(tmp_path, {"O.kaldi": {"plda": entry(scores_sha256="plda of lower dimension")}})
    assert list(found["O.kaldi"]) == ["cos", "cos_cali", "plda"]
    assert "results of O fused, O plda_cali are removed: they are made from scores that have changed" in caplog.text


def test_rows_of_a_list_that_is_gone_are_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trials").mkdir()
    lists = {name: tmp_path / "trials" / name for name in ("O.kaldi", "H.kaldi")}
    for path in lists.values():
        path.touch()
    elsewhere = entry(trials_file="/of/another/machine/E.kaldi")
    results = {name: {"cos": entry(trials_file=str(path))} for name, path in lists.items()}
    merge_results(tmp_path, {**results, "E.kaldi": {"cos": elsewhere}})
    lists["H.kaldi"].unlink()
    found = merge_results(tmp_path, {"O.kaldi": {"cos": entry(trials_file=str(lists["O.kaldi"]))}})
    assert set(found) == {"O.kaldi", "E.kaldi"}
    assert f"results of H cos are removed: {lists['H.kaldi']} is gone" in caplog.text


def test_entries_are_merged_and_the_table_is_written_again(tmp_path: Path) -> None:
    merge_results(tmp_path, {"O.kaldi": {"plda": entry()}})
    found = merge_results(tmp_path, {"O.kaldi": {"cos": entry(eer=3.0)}, "H.kaldi": {"cos": entry()}})
    assert found == read_results(tmp_path / "results.json") and list(found["O.kaldi"]) == ["cos", "plda"]
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert lines[0] == f"# Results of {tmp_path.name}" and lines[2:] == markdown_table({"": found}).splitlines()
    assert lines[2] == "| trials | back-end | EER (%) | minDCF (p_target 0.01) | targets | non-targets |"
    assert lines[4:] == [
        "| O | cos | 3.000 | 0.500 | 1 | 1 |",
        "| O | plda | 2.000 | 0.500 | 1 | 1 |",
        "| H | cos | 2.000 | 0.500 | 1 | 1 |",
    ]
    assert markdown_table({"x": found}).splitlines()[2] == "| x | O | cos | 3.000 | 0.500 | 1 | 1 |"


def test_the_table_for_a_terminal_has_trials_down_and_back_ends_across_and_fits() -> None:
    def of(eer: float, **more: object) -> Entry:
        return {"eer": eer, "min_dcf": {"0.05": 0.25, "0.01": 0.5}, "num_target": 1, "num_nontarget": 1, **more}

    backends = {name: of(12, interval={"eer": [6, 12.5]}) for name in ("asnorm300", "cos", "plda", "fused")}
    results = {"vox1_O_cleaned.kaldi": {**backends, "cos_cali": of(12, cllr=0.4)}, "H.kaldi": {"cos": of(10.25)}}
    lines = terminal_table(results).splitlines()
    assert lines == [
        "                asnorm300     cos           plda          fused",
        "vox1_O_cleaned  12.00         12.00         12.00         12.00",
        "                [6.0, 12.5]   [6.0, 12.5]   [6.0, 12.5]   [6.0, 12.5]",
        "                0.500 (0.01)  0.500 (0.01)  0.500 (0.01)  0.500 (0.01)",
        "H                             10.25",
        "",
        "                              0.500 (0.01)",
        "",
        "EER (%) with 95 % interval over speakers, if any; minDCF (p_target)",
    ]
    assert terminal_table({"O.kaldi": {**backends, "cos_cali": of(12, cllr=0.4)}}).splitlines()[:3] == [
        "   asnorm300          cos                plda               fused",
        "O  12.00 [6.0, 12.5]  12.00 [6.0, 12.5]  12.00 [6.0, 12.5]  12.00 [6.0, 12.5]",
        "   0.500 (0.01)       0.500 (0.01)       0.500 (0.01)       0.500 (0.01)",
    ]
    many = {"O.kaldi": {f"asnorm{number}": of(12) for number in range(100, 107)}}
    assert [line for line in terminal_table(many).splitlines() if "asnorm" in line] == [
        "   asnorm100     asnorm101     asnorm102     asnorm103     asnorm104",
        "   asnorm105     asnorm106",
    ]
    assert max(map(len, lines)) <= 80


def test_calibration_that_costs_more_than_none_is_told_under_the_table() -> None:
    def of(cllr: float, *act_dcf: float) -> Entry:
        return entry(cllr=cllr, act_dcf=dict(zip(("0.01", "0.05"), act_dcf, strict=True)))

    good = {"cos": entry(), "cos_cali": of(1, 1, 1)}
    assert failed_calibration({"O.kaldi": good}) == "" and "Calibration" not in terminal_table({"O.kaldi": good})
    results = {"O.kaldi": {**good, "plda_cali": of(0.9, 0.2, 6.06)}, "H.kaldi": {"cos_cali": of(1.25, 0.5, 0.5)}}
    told = failed_calibration(results)
    assert told.startswith("Calibration fails on O plda, H cos: Cllr up to 1.25, actDCF up to 6.06, where 1 is")
    assert "Do not rely on LLR or probability of plda, cos (verify uses cos); hold out more speakers" in told
    assert failed_calibration({"O.kaldi": {"fused": of(0.5, 1.5, 1)}}).startswith("Calibration fails on O fused: ")
    assert failed_calibration({"O.kaldi": {"cos_cali": of(0.5, 2, 1)}}).startswith(
        "Calibration fails on O cos: actDCF up to 2.00, where"
    )
    lines = terminal_table(results).splitlines()
    first = next(row for row, line in enumerate(lines) if line.startswith("Calibration"))
    assert " ".join(lines[first:]) == told and max(map(len, lines)) <= 80
