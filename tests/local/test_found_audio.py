"""Tell audio from other files of a folder, and report the others."""

import numpy as np
import soundfile

from sv.io import read_table
from tests.local.noise_files import RATE


def test_every_file_that_is_not_taken_is_told_by_ending(corpus, tmp_path, prepare):
    soundfile.write(corpus / "ann" / "c.caf", np.zeros(RATE), RATE, format="CAF")
    soundfile.write(corpus / "ann" / "d.nist", np.zeros(RATE), RATE, format="NIST")
    soundfile.write(corpus / "ann" / "e.wv9", np.zeros(RATE), RATE, format="NIST")
    soundfile.write(corpus / "ann" / "f", np.zeros(RATE), RATE, format="WAV")
    (corpus / "dora").mkdir()
    for name in ("a.m4a", "b.m4a", "notes.TXT", "c"):
        (corpus / "dora" / name).write_bytes(b"\xff\xfen\0o\0")
    said = prepare(corpus, tmp_path / "data")
    assert {"ann/c.wav", "ann/d.wav", "ann/e.wav", "ann/f.wav"} <= read_table(tmp_path / "data" / "utt2spk").keys()
    assert "5 files cannot be read as audio and are left out: 2 .txt, 2 .m4a, 1 without ending" in said
    assert "convert what is audio first (local/convert_audio.sh" in said
    assert "1 folders have no audio that can be read: dora" in said
