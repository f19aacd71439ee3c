"""A step ends with one line and a status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sv.errors import UserError, _with_hyphens, explain_out_of_memory, suggest

SCRIPT = """
import errno, sys
from sv.errors import UserError, log, run_step, tell
def main():
    what = sys.argv[1]
    if what == "user": raise UserError("data/x:3: two\\nlines; mend them")
    if what == "disk": raise OSError(errno.ENOSPC, "No space left on device", "exp/a.pt")
    if what == "memory": bytearray(1 << 50)
    if what == "bug": raise RuntimeError("a bug")
    if what == "log":
        import os
        log.info("%s/a/b in (%s/c), not /x%s/d", *[os.getcwd()] * 3)
    if what == "tell":
        log.info("all"), tell("epoch %d", 2), log.warning("odd")
    print("fine")
run_step(main)
"""

SAID = ("all", "epoch 2", "odd")

BAR = """
from tqdm import tqdm
from sv.errors import run_step, tell
def main():
    with tqdm(total=2, desc="b") as bar:
        bar.update()
        tell("word " * 11)
run_step(main)
"""

CYCLE = """
from sv.errors import run_step
class Node:
    def __init__(self): self.next = self
    def __del__(self): print("found")
def main():
    Node()
run_step(main)
"""

WRITE = """
import sys
from sv.errors import run_step
from sv.io import atomic_write
def main():
    with atomic_write(sys.argv[1]): pass
run_step(main)
"""


OPTIONS = """
import argparse
from sv.errors import run_step
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threshold")
    parser.add_argument("words", nargs="*")
    parser.parse_args()
run_step(main)
"""


@pytest.fixture
def step(tmp_path: Path) -> Path:
    (tmp_path / "step.py").write_text(SCRIPT)
    return tmp_path / "step.py"


def test_user_error_is_one_line_and_status_1(run, step):
    result = run("python3", step, "user")
    assert result.returncode == 1
    assert result.stderr == "step.py: error: data/x:3: two lines; mend them\n"


def test_a_line_has_the_time_and_paths_relative_to_the_current_folder(run, step, tmp_path):
    result = run("python3", step, "log", cwd=tmp_path)
    assert re.fullmatch(rf"\d{{4}}(-\d\d){{2}} [\d:]{{8}} step.py: a/b in \(c\), not /x{tmp_path}/d\n", result.stderr)


def test_in_a_stage_stderr_has_what_is_told_and_the_log_has_all(run, step, tmp_path):
    (tmp_path / "stage.log").write_text("before\n")
    for words in ([], ["--verbose"]):
        result = run("python3", step, "tell", *words, env={"SV_STAGE_LOG": str(tmp_path / "stage.log")})
        assert re.fullmatch(r"[\d:]{8} epoch 2\n[\d:]{8} odd\n", result.stderr)
    first, *others = (tmp_path / "stage.log").read_text().splitlines()
    assert first == "before" and [line[20:] for line in others] == [f"step.py: {said}" for said in SAID] * 2
    assert [line[20:] for line in run("python3", step, "tell").stderr.splitlines()] == [f"step.py: {s}" for s in SAID]


def test_in_a_stage_an_error_stands_in_the_log_as_well(run, step, tmp_path):
    done = run("python3", step, "user", env={"SV_STAGE_LOG": str(tmp_path / "stage.log")})
    assert done.stderr == "step.py: error: data/x:3: two lines; mend them\n"
    assert (tmp_path / "stage.log").read_text()[20:] == done.stderr


def test_a_run_of_a_recipe_shows_a_warning_once_and_its_logs_have_all(run, step, tmp_path):
    (tmp_path / "warnings.log").touch()  # by steps/recipe.sh
    shown = [run("python3", step, "tell", env={"SV_STAGE_LOG": str(tmp_path / f"{n}.log")}).stderr for n in (5, 6)]
    assert [[line[9:] for line in text.splitlines()] for text in shown] == [["epoch 2", "odd"], ["epoch 2"]]
    assert all((tmp_path / f"{n}.log").read_text().count(": odd\n") == 1 for n in (5, 6))


@pytest.mark.slow
def test_a_line_stands_above_the_bar_and_is_broken_between_words(root, tmp_path):
    (tmp_path / "step.py").write_text(BAR)
    command = f"stty rows 24 cols 40; '{sys.executable}' '{tmp_path}/step.py'"
    env = {**os.environ, "SV_STAGE_LOG": str(tmp_path / "log"), "PYTHONPATH": str(root)}
    words = ["script", "-qec", command, "/dev/null"]
    shown = subprocess.run(words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    first, second = [part for part in re.split(r"[\r\n]+", shown) if "word" in part]
    assert re.fullmatch(r"[\d:]{8} word( word)*", first) and re.fullmatch(r" {9}word( word)*", second)
    assert max(len(first), len(second)) <= 40 and "b:  50%" in shown


def test_verbose_shows_the_traceback_after_the_line(run, step):
    result = run("python3", step, "--verbose", "user")
    assert result.stderr.splitlines()[0].startswith("step.py: error:")
    assert "Traceback" in result.stderr


def test_full_disk_names_file_and_remedy(run, step):
    result = run("python3", step, "disk")
    assert result.stderr == (
        "step.py: error: exp/a.pt: No space left on device; free some disk space and run the same command again\n"
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/proc/none/x", "/proc/none: No such file or directory; check the path\n"),
        ("{folder}/step.py/x", "step.py: File exists; check the path: there is a file where a folder is needed\n"),
        ("{folder}", "Is a directory; give a file in that folder\n"),
    ],
)
def test_a_place_that_can_not_be_written_names_the_remedy(run, step, tmp_path, path, said):
    (tmp_path / "write.py").write_text(WRITE)
    result = run("python3", tmp_path / "write.py", path.format(folder=tmp_path))
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_name_that_is_not_utf8_is_one_line(run, tmp_path):
    (tmp_path / "list.py").write_text(
        "from sv.errors import run_step\nfrom sv.io import write_table\n"
        f"run_step(lambda: write_table('{tmp_path}/wav.scp', {{'a': '/audio/caf\\udce9.wav', 'b': '/audio/b.wav'}}))\n"
    )
    result = run("python3", tmp_path / "list.py")
    assert result.returncode == 1 and not (tmp_path / "wav.scp").exists()
    assert result.stderr == (
        "list.py: error: a /audio/caf\\xe9.wav: a name with bytes that are not UTF-8, which no list can hold; "
        "rename it\n"
    )


def test_lack_of_memory_is_one_line(run, step):
    result = run("python3", step, "memory")
    assert result.returncode == 1
    assert result.stderr == "step.py: error: out of memory; give it more memory or fewer jobs at a time\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory; lower x"),
        (MemoryError("Unable to allocate 8.00 PiB for an array"), "out of memory (another 8.00 PiB wanted); lower x"),
        (
            RuntimeError(
                "[alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."
            ),
            "out of memory (another 3.00 GiB wanted); lower x",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.72 GiB"),
            "out of memory (another 2.00 GiB wanted); lower x",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), "out of memory; lower x"),
    ],
)
def test_lack_of_memory_is_told_with_advice(error, said):
    with pytest.raises(UserError) as told, explain_out_of_memory(lambda: "lower x"):
        raise error
    assert str(told.value) == said


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="a bug"), explain_out_of_memory(lambda: ""):
        raise RuntimeError("a bug")


def test_a_process_that_ends_looks_for_no_garbage(run, tmp_path):
    script = tmp_path / "cycle.py"
    script.write_text(CYCLE)
    done = run("python3", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_bug_keeps_its_traceback(run, step):
    result = run("python3", step, "bug")
    assert result.returncode == 1
    assert "RuntimeError: a bug" in result.stderr


def test_closed_pipe_is_silent(run, step):
    result = run("bash", "-c", f'{sys.executable} "{step}" fine | true')
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("ResNet35", "; did you mean 'ResNet34'?"), ("ResNet5", "; did you mean 'ResNet50'?"), ("tdnn", ";")],
)
def test_the_nearest_name_is_suggested(word: str, nearest: str) -> None:
    names = ["ResNet18", "ResNet34", "ResNet50", "ResNet152"]
    assert suggest(word, names) == f"{nearest} known: ResNet18, ResNet34, ResNet50, ResNet152"


def test_argparse_names_the_nearest_option(run, tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(OPTIONS)
    for words, hint in ((["--treshold=3"], "; did you mean --threshold?"), (["a", "--zzz", "3"], "")):
        result = run("python3", tmp_path / "step.py", *words)
        assert result.returncode == 2
        assert result.stderr.endswith(f"\nstep.py: error: unrecognized arguments: {' '.join(words[-2:])}{hint}\n")


def test_names_of_options_take_underscores_and_their_values_keep_them() -> None:
    words = ["--num_parts", "--set=a_b=c_d", "a_b", "--override=--top_n x_y", "-_"]
    assert [_with_hyphens(word) for word in words] == [
        *("--num-parts", "--set=a_b=c_d", "a_b", "--override=--top_n x_y", "-_"),
    ]
