"""The files that a back-end scores from."""

from pathlib import Path

import pytest

from sv.errors import UserError
from sv.scoring.inputs import Inputs, flag_of


def test_file_that_is_needed_and_not_given_is_named() -> None:
    inputs = Inputs(Path("xvector.scp"), {"plda_dir": None, "cohort": Path("c.scp")})
    assert inputs.needed("cohort") == Path("c.scp")
    with pytest.raises(UserError, match="--plda-dir is not given; this back-end needs it"):
        inputs.needed("plda_dir")
    with pytest.raises(UserError, match="--mean is not given; this back-end needs it"):
        inputs.needed("mean")


def test_an_option_is_called_as_on_the_command_line() -> None:
    assert (flag_of("mean"), flag_of("top_n")) == ("--mean", "--top-n")
