"""Systems that differ in their seed alone."""

from sv.metrics.measures import Entry
from sv.metrics.results import Results
from sv.metrics.seeds import eer_table, means_table, seed_groups


def test_names_that_differ_in_their_seed_alone_are_grouped() -> None:
    names = ["a/C-seed1", "C", "b-seed1", "C-seed1", "C-seed10", "C-seed2", "C-seed1-LM", "C-seed2-LM", "my-seeds"]
    assert seed_groups(names) == {
        "a/C-seed1": ["a/C-seed1"],
        "C": ["C"],
        "b-seed1": ["b-seed1"],
        "C (3 seeds)": ["C-seed1", "C-seed10", "C-seed2"],
        "C-LM (2 seeds)": ["C-seed1-LM", "C-seed2-LM"],
        "my-seeds": ["my-seeds"],
    }


def entry(eer: float, min_dcf: float, cllr: float | None = None) -> Entry:
    found: Entry = {"eer": eer, "min_dcf": {"0.05": min_dcf}}
    return found if cllr is None else {**found, "cllr": cllr}


def test_means_are_of_what_all_seeds_have() -> None:
    seeds: dict[str, Results] = {
        "C-seed1": {"O.kaldi": {"cos": entry(2.0, 0.1), "cos_cali": entry(2.0, 0.1, 0.2), "plda": entry(1.0, 0.1)}},
        "other": {"O.kaldi": {"cos": entry(9.0, 0.9)}},
        "C-seed2": {"O.kaldi": {"cos": entry(4.0, 0.3), "cos_cali": entry(4.0, 0.3, 0.4)}, "H.kaldi": {}},
    }
    assert means_table(seeds) == (
        "| system | trials | back-end | EER (%) | minDCF (p_target 0.05) | Cllr |\n"
        "| --- | --- | --- | ---: | ---: | ---: |\n"
        "| C (2 seeds) | O | cos | 3.000 ± 1.414 | 0.200 ± 0.141 |  |\n"
        "| C (2 seeds) | O | cos_cali | 3.000 ± 1.414 | 0.200 ± 0.141 | 0.300 ± 0.141 |\n"
    )
    assert means_table({name: seeds[name] for name in ("C-seed1", "other")}) == ""


def test_eers_of_all_systems_side_by_side() -> None:
    alone = {**entry(9.0, 0.9), "interval": {"eer": [7.25, 11.0]}}
    systems: dict[str, Results] = {
        "C-seed1": {"O.kaldi": {"cos": entry(2.0, 0.1), "cos_cali": entry(2.0, 0.1, 0.2), "plda": entry(1.0, 0.1)}},
        "other": {"O.kaldi": {"cos": alone, "fused": entry(1.0, 0.5, 0.2)}},
        "C-seed2": {"O.kaldi": {"cos": entry(4.0, 0.3)}, "H.kaldi": {"cos": entry(5.0, 0.3)}},
    }
    assert eer_table(systems) == (
        "| EER (%) | O, cos | O, plda | O, fused | H, cos |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| C (2 seeds) | 3.00 ± 1.41 |  |  |  |\n"
        "| other | 9.00 [7.2, 11.0] |  | 1.00 |  |\n"
    )
