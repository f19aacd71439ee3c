"""tools/run.pl: Kaldi's calling convention, logs, failures, and the end of all jobs with run.pl itself."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.waiting import wait_until

TOOLS = Path(__file__).resolve().parents[2] / "tools"
RUN = TOOLS / "run.pl"


def run(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *words], cwd=folder, capture_output=True, text=True, env={**os.environ, **env})


def output(log: Path) -> str:
    """Return what the command itself wrote to its log."""
    return "".join(line for line in log.read_text().splitlines(keepends=True) if not re.match(r"#( |$)", line))


def test_log_tells_command_host_times_and_status(tmp_path: Path) -> None:
    done = run(tmp_path, "new/log/x.log", "bash", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    time_ = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}"
    assert re.fullmatch(
        rf"# bash -c 'echo out; echo err >&2'\n# Running on \S+\n# Started at {time_}\n#\nout\nerr\n#\n"
        rf"# Accounting: time=\d threads=1\n# Ended \(code 0\) at {time_}, elapsed time \d seconds\n",
        (tmp_path / "new/log/x.log").read_text(),
    )


@pytest.mark.parametrize("name", ["JOB", "n", "TASK_ID"])
def test_job_number_is_put_into_log_and_command(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, f"{name}=2:4", f"log/x.{name}.log", "echo", f"part {name} of {name}/4", "x")
    assert done.returncode == 0
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["x.2.log", "x.3.log", "x.4.log"]
    assert output(tmp_path / "log/x.3.log") == "part 3 of 3/4 x\n"


def test_one_job_by_number(tmp_path: Path) -> None:
    assert run(tmp_path, "JOB=7", "x.log", "echo", "JOB").returncode == 0
    assert output(tmp_path / "x.log") == "7\n"


def test_options_of_clusters_are_accepted_and_ignored(tmp_path: Path) -> None:
    options = "--mem 4G --gpu 1 --num-threads 3 --time=10:00:00 --config c.conf -l arch=*64 -q all.q -pe smp 5 -V"
    done = run(tmp_path, *options.split(), "JOB=1:2", "--max_jobs_run", "1", "x.JOB.log", "echo", "ok")
    assert (done.returncode, done.stderr) == (0, "")
    assert output(tmp_path / "x.2.log") == "ok\n"
    assert "threads=3" in (tmp_path / "x.2.log").read_text()


@pytest.mark.parametrize(
    "argument",
    ["a b", " ", "", "it's", '"q"', "$HOME `id` $(id)", "x;y", "a|b", "a>b", "*", "~", "\\", "\\n", "new\nline", "\t"]
    + ["\x01", "é", "#x", "a=b", "!", "{a,b}", "-n", "(x)"],
)
def test_arguments_arrive_unchanged(tmp_path: Path, argument: str) -> None:
    show = ["printf", "[%s]", argument]
    assert run(tmp_path, "direct.log", *show).returncode == 0
    assert run(tmp_path, "shell.log", *show, "|", "cat").returncode == 0
    for log in (tmp_path / "direct.log", tmp_path / "shell.log"):
        assert log.read_text().split("#\n")[1] == f"[{argument}]"
        command = log.read_text().splitlines()[0]
        again = subprocess.run(["bash", "-c", command.removeprefix("# ")], capture_output=True, text=True)
        assert again.stdout == f"[{argument}]"  # the line in the log can be run as it stands


def test_the_shells_operators_as_arguments(tmp_path: Path) -> None:
    done = run(tmp_path, "x.log", "printf", r"b\na\n", "|", "sort", ">", "two words", "&&", "ls", "nowhere", "2>&1")
    assert done.returncode == 2  # of ls
    assert (tmp_path / "two words").read_text() == "a\nb\n"
    assert "nowhere" in output(tmp_path / "x.log")
    assert run(tmp_path, "x.log", "false", "|", "cat").returncode == 1  # pipefail
    assert run(tmp_path, "x.log", "false", "||", "true").returncode == 0


def test_variables_before_the_command(tmp_path: Path) -> None:
    assert run(tmp_path, "x.log", "A=1 2", "B=", "bash", "-c", 'echo "$A${B-unset}"', "A=3").returncode == 0
    assert output(tmp_path / "x.log") == "1 2\n"


def test_jobs_read_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "x.log", "cat").returncode == 0


def test_a_job_writes_into_its_own_log_and_not_into_that_of_the_stage(tmp_path: Path) -> None:
    assert run(tmp_path, "x.log", "bash", "-c", "echo a${SV_STAGE_LOG:-}b", SV_STAGE_LOG="stage.log").returncode == 0
    assert "\nab\n" in (tmp_path / "x.log").read_text()


def test_jobs_get_the_default_signals(tmp_path: Path) -> None:
    assert run(tmp_path, "x.log", "bash", "-c", "yes | head -n 1").returncode == 0
    assert output(tmp_path / "x.log") == "y\n"  # with SIGPIPE ignored, yes would complain


def test_no_more_jobs_at_a_time_than_asked_for(tmp_path: Path) -> None:
    count = "touch $0; set -- run.*; echo $#; sleep 0.1; rm $0"  # ls would look at files that others remove meanwhile
    assert run(tmp_path, "--max-jobs-run", "2", "JOB=1:6", "JOB.log", "bash", "-c", count, "run.JOB").returncode == 0
    assert {output(tmp_path / f"{job}.log").strip() for job in range(1, 7)} <= {"1", "2"}


def test_failed_jobs_are_counted_and_the_first_log_is_shown(tmp_path: Path) -> None:
    script = 'for i in {1..20}; do echo "JOB line $i"; done; [ JOB -lt 3 ] || exit 7'
    done = run(tmp_path, "JOB=1:4", "log/x.JOB.log", "bash", "-c", script)
    assert done.returncode == 7
    lines = done.stderr.splitlines()
    assert lines[0] == ("run.pl: error: 2 of 4 jobs failed, the first is job 3 (code 7); see log/x.3.log, which ends:")
    assert lines[1:] == [f"  3 line {i}" for i in range(11, 21)]
    assert "# Ended (code 7) at" in (tmp_path / "log/x.4.log").read_text()


def test_in_a_stage_the_failure_stands_in_its_log_as_well(tmp_path: Path) -> None:
    done = run(tmp_path, "x.log", "bash", "-c", "echo why; exit 7", SV_STAGE_LOG="stage.log")
    assert done.stderr == "run.pl: error: the job failed (code 7); see x.log, which ends:\n  why\n"
    assert (tmp_path / "stage.log").read_text()[20:] == done.stderr


def test_job_killed_by_a_signal(tmp_path: Path) -> None:
    done = run(tmp_path, "x.log", "bash", "-c", "kill -KILL $$")
    assert done.returncode == 1
    assert "the job failed (code 137: killed by signal 9 (SIGKILL; as when memory runs out)); see x.log" in done.stderr
    log = (tmp_path / "x.log").read_text()
    assert "# Killed by signal 9 (SIGKILL" in log
    assert "# Ended (code 137)" in log


def test_failed_jobs_run_again_when_asked_to(tmp_path: Path) -> None:
    script = "echo run >> runs.JOB; [ JOB = 1 ] || [ $(wc -l < runs.JOB) = 3 ]"
    done = run(tmp_path, "--max-retries", "2", "JOB=1:2", "JOB.log", "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs.1").read_text() == "run\n"
    assert (tmp_path / "2.log").read_text().count("# Started at") == 3
    done = run(tmp_path, "--max-retries", "1", "x.log", "bash", "-c", "exit 3")
    assert done.returncode == 3
    assert (tmp_path / "x.log").read_text().count("# Ended (code 3)") == 2


def test_missing_command(tmp_path: Path) -> None:
    done = run(tmp_path, "x.log", "no-such-command")
    assert "(code 127); see x.log" in done.stderr
    assert "cannot run no-such-command: No such file or directory" in done.stderr


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path, "file/x.log", "touch", "ran")
    assert done.returncode == 1
    assert "file/x.log: cannot write" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_full_disk(tmp_path: Path) -> None:
    (tmp_path / "x.log").symlink_to("/dev/full")
    done = run(tmp_path, "x.log", "true")
    assert done.returncode == 1
    assert "x.log: cannot write: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["JOB=3:2", "x.JOB.log", "true"], "JOB=3:2 is not a range of jobs: 1 <= first <= last"),
        (["JOB=0:2", "x.JOB.log", "true"], "JOB=0:2 is not a range of jobs: 1 <= first <= last"),
        (["JOB=1:", "x.JOB.log", "true"], "JOB=1: is not a range of jobs such as JOB=1:40"),
        (["JOB=1:2", "x.log", "true"], "x.log: several jobs cannot share one log; put JOB into its name"),
        (["--max-jobs-run", "0", "x.log", "true"], "--max-jobs-run is a whole number from 1, not '0'"),
        (["--max-jobs-run", "--mem", "2G", "x.log", "true"], "--max-jobs-run needs a value"),
        (["--mem"], "--mem needs a value"),
    ],
)
def test_wrong_calls(tmp_path: Path, words: list[str], message: str) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"run.pl: error: {message}\n")


def test_unknown_option(tmp_path: Path) -> None:
    done = run(tmp_path, "--max-job-run", "2", "x.log", "true")
    assert done.returncode == 2
    assert done.stderr.startswith("run.pl: error: unknown option --max-job-run; known are --mem --gpu")
    assert " --max-jobs-run " in done.stderr


@pytest.mark.parametrize("words", [[], ["x.log"], ["--mem", "2G", "JOB=1:4", "x.JOB.log"]])
def test_usage(tmp_path: Path, words: list[str]) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: run.pl [options]")
    assert "e.g.: run.pl" in done.stderr
    assert run(tmp_path, "--help").stdout == done.stderr


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


TREE = """
{trap}
sleep 300 &
echo $! > child.JOB.tmp
bash -c 'echo $$ > "$0.tmp"; mv "$0.tmp" "$0"; sleep 300; :' grandchild.JOB &
mv child.JOB.tmp child.JOB
wait; wait
"""


def start_tree(folder: Path, trap: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """run.pl with two jobs that have children, and the ids of these."""
    process = subprocess.Popen(
        [RUN, "--max-jobs-run", "2", "JOB=1:3", "JOB.log", "bash", "-c", TREE.format(trap=trap)],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # which nohup around the tests would ignore
    )
    marks = [folder / f"{kind}.{job}" for kind in ("child", "grandchild") for job in (1, 2)]
    wait_until(lambda: all(mark.exists() for mark in marks))
    return process, [int(mark.read_text()) for mark in marks]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_stopping_run_pl_ends_all_processes_of_its_jobs(tmp_path: Path, name: str) -> None:
    process, pids = start_tree(tmp_path)
    process.send_signal(signal.Signals[name])
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == -signal.Signals[name]
    assert stderr == f"run.pl: error: stopped by {name}, ending 2 running jobs\n"
    wait_until(lambda: not any(map(alive, pids)))
    assert "# Killed by signal 15 (SIGTERM)" in (tmp_path / "1.log").read_text()
    assert not (tmp_path / "3.log").exists()


@pytest.mark.slow
def test_jobs_that_ignore_sigterm_are_killed(tmp_path: Path) -> None:
    process, pids = start_tree(tmp_path, trap="trap '' TERM")
    process.terminate()
    process.communicate(timeout=30)
    wait_until(lambda: not any(map(alive, pids)))


def test_jobs_end_when_run_pl_is_killed(tmp_path: Path) -> None:
    process, pids = start_tree(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    wait_until(lambda: not any(map(alive, pids)))


def test_what_a_failed_job_leaves_behind_is_ended(tmp_path: Path) -> None:
    done = run(tmp_path, "x.log", "bash", "-c", "sleep 300 & echo $! > pid; exit 1")
    assert done.returncode == 1
    wait_until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_nohup_stays_in_force(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [RUN, "x.log", "bash", "-c", "touch started; sleep 0.5; touch ended"],
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_until((tmp_path / "started").exists)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert (tmp_path / "ended").exists()


def test_jobs_that_need_each_other_end_when_one_has_failed_for_good(tmp_path: Path) -> None:
    script = "echo run >> runs.JOB; [ JOB = 1 ] && exec sleep 300; until [ -e runs.1 ]; do sleep 0.1; done; exit 3"
    options = ["--together", "true", "--max-retries", "1", "--max-jobs-run", "2"]
    done = run(tmp_path, *options, "JOB=1:2", "x.JOB.log", "bash", "-c", script)
    assert done.returncode == 3
    assert "error: 1 of 2 jobs failed, the first is job 2 (code 3); see x.2.log" in done.stderr
    assert (tmp_path / "runs.2").read_text() == "run\nrun\n"
