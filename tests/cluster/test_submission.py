"""tools/queue.pl and tools/slurm.pl on the real schedulers: arrays, logs, failures, kills, retries, limits, the end."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def output(log: Path) -> str:
    """Return what the command itself wrote to its log."""
    return "".join(line for line in log.read_text().splitlines(keepends=True) if not re.match(r"#( |$)", line))


def job_ids(folder: Path) -> list[str]:
    return [path.read_text().strip() for path in folder.glob("**/q/*/*/job_id")]


def cancel(cluster: Cluster, job_id: str) -> None:
    subprocess.run(["qdel" if cluster.name == "gridengine" else "scancel", job_id], check=True, capture_output=True)


def test_array_with_logs_as_run_pl_writes_them(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.submit(tmp_path, "TASK=3:6", "new dir/x.TASK.log", "bash", "-c", "echo TASK; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    time_ = r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}"
    assert re.fullmatch(
        rf"# bash -c 'echo 4; echo err >&2'\n# Running on \S+\n# Started at {time_}\n#\n4\nerr\n#\n"
        rf"# Accounting: time=\d threads=1\n# Ended \(code 0\) at {time_}, elapsed time \d seconds\n",
        (tmp_path / "new dir/x.4.log").read_text(),
    )
    assert sorted(path.name for path in (tmp_path / "new dir").iterdir()) == [f"x.{n}.log" for n in range(3, 7)]


def test_arguments_environment_and_folder_arrive_unchanged(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "it's 100%: `x`"
    folder.mkdir()
    words = ["a b", "", "it's", '"q"', "$HOME `id`", "; x", "*", "~", "\\n", "new\nline", "\x01", "é", "a=b", "%a%%"]
    show = 'printf "[%s]" "$PWD" "$SV_TEST" "$PATH" "$@"'
    path = f"{os.environ['PATH']}:{tmp_path}"
    done = cluster.submit(folder, "x.log", "bash", "-c", show, "_", *words, SV_TEST="two\nlines ; $x", PATH=path)
    assert done.returncode == 0, done.stderr
    expected = [str(folder), "two\nlines ; $x", path, *words]
    assert (folder / "x.log").read_text().split("#\n")[1] == "".join(f"[{word}]" for word in expected)


def test_the_shells_operators_and_variables(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.submit(tmp_path, "x.log", "A=1 2", "bash", "-c", 'echo "$A"; false', "|", "tee", "y z")
    assert done.returncode == 1
    assert (tmp_path / "y z").read_text() == "1 2\n"


def test_failed_tasks_are_counted_and_the_worst_status_is_returned(cluster: Cluster, tmp_path: Path) -> None:
    script = 'for i in {1..12}; do echo "JOB line $i"; done; case JOB in 2) exit 7;; 4) exit 99;; 5) kill -9 $$;; esac'
    done = cluster.submit(tmp_path, "JOB=1:5", "log/x.JOB.log", "bash", "-c", script)
    assert done.returncode == 99
    lines = done.stderr.splitlines()
    assert lines[0].endswith("error: 3 of 5 jobs failed, the first is job 2 (code 7); see log/x.2.log, which ends:")
    assert lines[1:] == [f"  2 line {i}" for i in range(3, 13)]
    assert "# Ended (code 99) at" in (tmp_path / "log/x.4.log").read_text()
    assert "# Killed by signal 9 (SIGKILL" in (tmp_path / "log/x.5.log").read_text()


def test_retries_go_on_in_the_same_log(cluster: Cluster, tmp_path: Path) -> None:
    script = "echo run >> runs.JOB; [ JOB = 1 ] || [ $(wc -l < runs.JOB) = 3 ]"
    done = cluster.submit(tmp_path, "--max-retries", 2, "JOB=1:2", "JOB.log", "bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs.1").read_text() == "run\n"
    assert (tmp_path / "2.log").read_text().count("# Started at") == 3
    done = cluster.submit(tmp_path, "--max-retries", 1, "x.log", "bash", "-c", "exit 3")
    assert done.returncode == 3


def test_no_more_tasks_at_a_time_than_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    count = "touch $0; set -- run.*; echo $#; sleep 0.5; rm $0"
    done = cluster.submit(tmp_path, "--max-jobs-run", 1, "JOB=1:3", "JOB.log", "bash", "-c", count, "run.JOB")
    assert done.returncode == 0, done.stderr
    assert {output(tmp_path / f"{job}.log") for job in (1, 2, 3)} == {"1\n"}


def test_requests_reach_the_scheduler(cluster: Cluster, tmp_path: Path) -> None:
    show = "echo gpu=${CUDA_VISIBLE_DEVICES:-none} threads=${NSLOTS:-${SLURM_CPUS_PER_TASK:-}} queue=${QUEUE:-}"
    options = ["--num-threads", 2, "--mem", "200M", "--gpu", 1, "--time", "0:10:00"]
    done = cluster.submit(tmp_path, *options, "x.log", "bash", "-c", show, CUDA_VISIBLE_DEVICES="7")
    assert done.returncode == 0, done.stderr
    gpu = {"gridengine": "gpu=none threads=2 queue=g.q", "slurm": "gpu=0 threads=2 queue="}[cluster.name]
    assert output(tmp_path / "x.log") == f"{gpu}\n"
    assert "threads=2" in (tmp_path / "x.log").read_text()


def test_two_gpus_serve_two_of_three_tasks_at_a_time(cluster: Cluster, tmp_path: Path) -> None:
    count = "touch $0; set -- run.*; echo $#; sleep 1; rm $0"
    done = cluster.submit(tmp_path, "--gpu", 1, "JOB=1:3", "JOB.log", "bash", "-c", count, "run.JOB")
    assert done.returncode == 0, done.stderr
    assert {output(tmp_path / f"{job}.log") for job in (1, 2, 3)} <= {"1\n", "2\n"}


def test_a_request_that_can_never_be_met_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    done = cluster.submit(tmp_path, "--gpu", 5, "x.log", "true")
    assert done.returncode == 1
    print(done.stderr)
    assert re.match(rf"{cluster.submitter.name}: error: (qsub|sbatch) refuses the job: \S", done.stderr)
    assert not (tmp_path / "q").exists() or not list((tmp_path / "q").iterdir())


def test_a_killed_task_has_failed(cluster: Cluster, tmp_path: Path) -> None:
    script = "[ JOB = 1 ] && exit; echo $PPID > tmp; mv tmp parent; sleep 300"
    process = subprocess.Popen(
        cluster.command("JOB=1:2", "JOB.log", "bash", "-c", script),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "parent").exists)
    os.kill(int((tmp_path / "parent").read_text()), signal.SIGKILL)  # what keeps the log and leaves the mark
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    said = {"gridengine": "qacct says failed 100", "slurm": "scontrol says FAILED, ExitCode=0:9"}[cluster.name]
    assert f"1 of 2 jobs failed, the first is job 2 (killed: {said}" in stderr


def test_a_scheduler_that_is_lost_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    query = {"gridengine": "qstat", "slurm": "squeue"}[cluster.name]
    wrapper = tmp_path / "bin" / query
    wrapper.parent.mkdir()
    fail = f'[ -e {tmp_path}/down ] && {{ echo "unable to contact"; exit 1; }}'
    wrapper.write_text(f'#!/bin/sh\n{fail}\nexec {shutil.which(query)} "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "down").touch()
    process = subprocess.Popen(
        cluster.command("x.log", "bash", "-c", "while ! [ -e go ]; do sleep 0.1; done"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"},
    )
    assert process.stderr is not None
    assert "warning: the scheduler does not answer (unable to contact); running jobs go on" in process.stderr.readline()
    (tmp_path / "down").unlink()
    assert "warning: the scheduler answers again" in process.stderr.readline()
    (tmp_path / "down").touch()
    (tmp_path / "go").touch()
    assert process.wait(timeout=60) == 0  # marks are enough
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    done = cluster.submit(
        tmp_path, "--scheduler-timeout", 1, "y.log", "bash", "-c", "touch began; sleep 300", PATH=path
    )
    assert done.returncode == 1
    assert "error: the scheduler has not answered for 1 s (unable to contact)" in done.stderr
    (job_id,) = job_ids(tmp_path)
    assert f"error: the jobs {job_id} are left as they are, with {tmp_path}/q/y" in done.stderr
    wait_until((tmp_path / "began").exists)
    cancel(cluster, job_id)


def test_a_task_that_was_taken_away_runs_again_when_asked_to(cluster: Cluster, tmp_path: Path) -> None:
    script = "[ -e began ] && exit; touch began; sleep 300"
    process = subprocess.Popen(cluster.command("--max-retries", 1, "x.log", "bash", "-c", script), cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    (job_id,) = job_ids(tmp_path)
    cancel(cluster, job_id)
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_the_jobs_end_with_the_submitter(cluster: Cluster, tmp_path: Path, name: str) -> None:
    process = subprocess.Popen(
        cluster.command("JOB=1:3", "JOB.log", "bash", "-c", "echo $$ > pid.JOB; sleep 300; :"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # All that run at once have begun: a login shell that is killed may leave a lock, on which those after it wait.
    at_once = {"gridengine": 3, "slurm": 2}[cluster.name]
    wait_until(lambda: len(list(tmp_path.glob("pid.*"))) == at_once)
    (job_id,) = job_ids(tmp_path)
    process.send_signal(signal.Signals[name])
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == -signal.Signals[name]
    if name != "SIGKILL":
        assert stderr == f"{cluster.submitter.name}: error: stopped by {name}, ending the submitted jobs ({job_id})\n"
    wait_until(lambda: not any(re.match(rf"\s*{job_id}\b", line) for line in cluster.jobs()))
    wait_until(lambda: not list(tmp_path.glob("q/*")))
    pids = [path.read_text().strip() for path in tmp_path.glob("pid.*")]
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_the_second_call_with_one_log_says_who_runs_it(cluster: Cluster, tmp_path: Path) -> None:
    process = subprocess.Popen(cluster.command("x.log", "bash", "-c", "touch began; sleep 300"), cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    done = cluster.submit(tmp_path, "x.log", "true")
    assert done.returncode == 1
    assert f"q/x: process {process.pid} on {os.uname().nodename} runs the jobs of this log; wait" in done.stderr
    process.terminate()
    process.wait(timeout=60)


def test_what_a_dead_submitter_has_left_is_ended(cluster: Cluster, tmp_path: Path) -> None:
    process = subprocess.Popen(cluster.command("x.log", "bash", "-c", "touch began; sleep 300"), cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    (job_id,) = job_ids(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in [*map(int, children), process.pid]:  # as when the machine goes down: the process that cleans up, too
        os.kill(pid, signal.SIGKILL)
    process.wait()
    done = cluster.submit(tmp_path, "x.log", "echo", "ok")
    assert done.returncode == 0
    assert f"process {process.pid} on {os.uname().nodename} has left jobs behind ({job_id}); ending them" in done.stderr
    assert output(tmp_path / "x.log") == "ok\n"


def test_the_jobs_end_with_the_script_that_submitted_them(cluster: Cluster, root: Path, tmp_path: Path) -> None:
    """A recipe ended by SIGKILL, which its submitter does not see; tools/guard.sh does."""
    script = tmp_path / "recipe.sh"
    script.write_text(
        "set -euo pipefail\n. ./path.sh\n# Options\n. tools/parse_options.sh\n. tools/guard.sh\n"
        f"{cluster.submitter.name} {tmp_path}/x.log bash -c 'touch {tmp_path}/began; sleep 300; :'\n"
    )
    process = subprocess.Popen(["bash", script], cwd=root)
    wait_until((tmp_path / "began").exists)
    (job_id,) = job_ids(tmp_path)
    process.kill()
    process.wait()
    wait_until(lambda: not any(re.match(rf"\s*{job_id}\b", line) for line in cluster.jobs()))
    wait_until(lambda: not list(tmp_path.glob("q/*")))


def test_jobs_that_need_each_other_end_when_one_has_failed(cluster: Cluster, tmp_path: Path) -> None:
    script = "touch began.JOB; [ JOB = 1 ] && sleep 300; until [ -e began.1 ]; do sleep 0.1; done; exit 3"
    done = cluster.submit(tmp_path, "--together", "true", "JOB=1:2", "x.JOB.log", "bash", "-c", script)
    assert done.returncode == 3
    assert "error: 1 of 2 jobs failed, the first is job 2 (code 3); see x.2.log" in done.stderr
    wait_until(lambda: not cluster.jobs())
