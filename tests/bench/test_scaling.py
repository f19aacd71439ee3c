"""bench/scaling.py: a column of the table, worked out by hand."""

import pytest

from bench import scaling


@pytest.mark.slow
def test_a_column_by_hand() -> None:
    rates = scaling.Rates(convert=36, decode=18, fbank=18, embed=72, flac_bytes=60e6)  # CPU seconds and bytes an hour
    corpus = scaling.Corpus("x", speakers=1000, utts=100_000, hours=1000)
    found = scaling.rows(corpus, rates, cores=10, gpus=2, gpu_rate=500, epochs=10)
    assert found["audio as FLAC"] == "60 GB"
    assert found["arks, two bytes a value"] == "57.6 GB"  # 100 frames of 80 values a second
    assert found["stage 1, m4a to FLAC, core hours"] == "10"
    assert found["stages 1 and 2 on 10 cores"] == "2 h"
    assert found["weights of the head"] == "1.02 MB"
    sent = "a step, 2 processes: embeddings and their gradient, split head"
    assert found[sent] == "524 kB"  # 256 x 256 floats to the other process, and as many of the gradient of its own
    assert found["stage 3, 10 epochs on 2 GPUs"] == "0.0116 days"  # 1000 s
    assert found["stage 4, embeddings of all on 10 cores"] == "2 h"
    assert scaling.rows(corpus, rates, 10, 2, 0.0, 10)["stage 3, 10 epochs on 2 GPUs"] == "not measured"


def test_a_ring_sends_all_but_its_own_share_twice() -> None:
    assert scaling.ring(8.0, 4) == 12.0 and scaling.ring(8.0, 1) == 0.0
