"""tools/parse_options.sh: options, their checks and --help, all from a script's own option block."""

import os
import re
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

SCRIPT = """#!/usr/bin/env bash
# Does this and that.
# Usage: x.sh [options] {positional}
# e.g.: x.sh --nj 3 data/train
set -euo pipefail
{before}
# Options (more words)
stage=1                  # first stage
stop_stage=8             # last stage
nj=4                     # parallel jobs
cmd="run.pl --mem 1G"    # or "queue.pl"
allow_pipes=false        # run the commands in wav.scp
dither=true              # true|false
loss=softmax             # softmax|aam: the training loss
margin_type=             # C|A: where the margin goes
                         # (sphereface2)
scale=32                 # s
seeds=1                  # several as in "1 2 3"
config=                  # FILE: settings
exp_dir=/exp/"a b"       # DIR: results
NODE_ADDR=localhost      # capitals stay
# shellcheck source=tools/parse_options.sh
. "{tools}/parse_options.sh"
for name in stage stop_stage nj cmd allow_pipes dither loss margin_type scale seeds config exp_dir NODE_ADDR; do
  printf '%s=%s\\n' "$name" "${{!name}}"
done
printf 'arg=%s\\n' "$@"
{after}
"""


class Script:
    def __init__(self, folder: Path, positional: str = "<data-dir> [<ark-dir>]", before: str = "", after: str = ""):
        self.folder = folder
        self.path = folder / "x.sh"
        self.path.write_text(SCRIPT.format(tools=TOOLS, positional=positional, before=before, after=after))

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", self.path.name, *words], cwd=self.folder, capture_output=True, text=True)

    def values(self, *words: str) -> dict[str, str]:
        done = self(*words)
        assert (done.returncode, done.stderr) == (0, "")
        return dict(re.findall(r"(?ms)^(\w+)=(.*?)$(?=\n\w+=|\n\Z)", done.stdout))

    def error(self, *words: str) -> str:
        done = self(*words)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_defaults_are_those_of_the_block(script: Script) -> None:
    values = script.values("data")
    assert values == {
        "stage": "1",
        "stop_stage": "8",
        "nj": "4",
        "cmd": "run.pl --mem 1G",
        "allow_pipes": "false",
        "dither": "true",
        "loss": "softmax",
        "margin_type": "",
        "scale": "32",
        "seeds": "1",
        "config": "",
        "exp_dir": "/exp/a b",
        "NODE_ADDR": "localhost",
        "arg": "data",
    }


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--nj", "3"], "nj", "3"),
        (["--nj=3"], "nj", "3"),
        (["--stop-stage", "0"], "stop_stage", "0"),
        (["--stop_stage=-1"], "stop_stage", "-1"),
        (["--loss", "aam"], "loss", "aam"),
        (["--margin-type", "A"], "margin_type", "A"),
        (["--margin-type="], "margin_type", ""),
        (["--margin-type", ""], "margin_type", ""),
        (["--dither", "false"], "dither", "false"),
        (["--dither=false"], "dither", "false"),
        (["--allow-pipes"], "allow_pipes", "true"),
        (["--allow-pipes", "--nj", "1"], "allow_pipes", "true"),
        (["--scale", "32.5"], "scale", "32.5"),
        (["--seeds", "1 2 42"], "seeds", "1 2 42"),
        (["--NODE_ADDR", "h:1"], "NODE_ADDR", "h:1"),
        (["--cmd", "queue.pl --mem 4G"], "cmd", "queue.pl --mem 4G"),
        (["--cmd", "--mem"], "cmd", "--mem"),
        (["--cmd=--nj=3"], "cmd", "--nj=3"),
    ],
)
def test_values(script: Script, words: list[str], name: str, value: str) -> None:
    assert script.values(*words, "data")[name] == value
    assert script.values("data", *words)[name] == value  # behind the arguments, too


@pytest.mark.parametrize("value", ["a b", "it's", '"q"', "$HOME `id` $(id)", "x;y|z", "*", "\\n", "a\tb", "-3"])
def test_values_are_taken_as_they_are(script: Script, value: str) -> None:
    values = script.values("--config", value, f"--cmd={value}", "--", value)
    assert (values["config"], values["cmd"], values["arg"]) == (value, value, value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stge", "3"], "unknown option --stge; did you mean --stage?"),
        (["--stop-stag=3"], "unknown option --stop-stag; did you mean --stop-stage?"),
        (["--exp", "d"], "unknown option --exp; did you mean --exp-dir?"),
        (["--dir", "d"], "unknown option --dir; did you mean --exp-dir?"),
        (["--completely-different", "d"], "unknown option --completely-different"),
        (["-x"], "unknown option -x"),
        (["--=3"], "unknown option --"),
        (["--a[$(touch hacked)]=3"], "unknown option --a[$(touch hacked)]"),
        (["--nj", "abc"], "--nj is a whole number, not 'abc'"),
        (["--nj", "08"], "--nj is a whole number, not '08'"),
        (["--nj", "0"], "--nj is at least 1, not 0"),
        (["--stage", "1; touch hacked"], "--stage is a whole number, not '1; touch hacked'"),
        (["--seeds", "1 -2"], "--seeds takes whole numbers, as in \"1 2 3\", not '1 -2'"),
        (["--nj"], "--nj needs a value"),
        (["--cmd", "--nj", "3"], "--cmd needs a value"),
        (["--dither", "yes"], "--dither is true or false, not 'yes'"),
        (["--exp-dir", ""], "--exp-dir is empty; give a folder, or leave the option out"),
        (["--dither="], "--dither is true or false, not ''"),
        (["--loss", "sphere"], "--loss is one of softmax, aam, not 'sphere'"),
        (["--loss="], "--loss is one of softmax, aam, not ''"),
        (["--loss", "softmax|aam"], "--loss is one of softmax, aam, not 'softmax|aam'; did you mean softmax?"),
    ],
)
def test_wrong_options_are_refused_in_one_line(script: Script, words: list[str], message: str) -> None:
    assert script.error(*words) == f"x.sh: error: {message} (--help lists the options)\n"
    assert not (script.folder / "hacked").exists()


@pytest.mark.parametrize("words", [["a", "b", "c"], ["a", "b", "--nj", "3", "c"]])
def test_wrong_number_of_arguments_shows_usage(script: Script, words: list[str]) -> None:
    lines = script.error(*words).splitlines()
    assert lines[0] == "x.sh: error: wrong number of arguments: 3"
    assert lines[1] == "Usage: x.sh [options] <data-dir> [<ark-dir>]"
    assert lines[2] == "e.g.: x.sh --nj 3 data/train"
    assert any("--stop-stage 8" in line for line in lines)


def test_no_argument_shows_usage(script: Script) -> None:
    assert script.error().startswith("Usage: x.sh")


def test_without_positional_arguments_in_the_usage_none_are_allowed(tmp_path: Path) -> None:
    script = Script(tmp_path, positional="")
    assert script.error("data") == "x.sh: error: takes options only, not 'data' (--help lists the options)\n"
    assert "--dither is true or false, not 'maybe'" in script.error("--dither", "maybe")


def test_any_number_of_arguments(tmp_path: Path) -> None:
    script = Script(tmp_path, positional="<dest> <src1> [<src2> ...]")
    assert script(*"abcdefg").stdout.count("arg=") == 7
    assert "wrong number of arguments: 1" in script.error("a")


def test_help_prints_comment_and_block(script: Script) -> None:
    done = script("--nj", "3", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Does this and that.\nUsage: x.sh [options] <data-dir>")
    help_text = re.sub(" +", " ", done.stdout)
    for line in [
        ' --cmd "run.pl --mem 1G" or "queue.pl"\n',
        " --loss softmax softmax|aam: the training loss\n",
        " --margin-type C|A: where the margin goes\n (sphereface2)\n",
        ' --exp-dir /exp/"a b" DIR: results\n',
        " --NODE_ADDR localhost capitals stay\n",
    ]:
        assert line in help_text
    assert "shellcheck" not in help_text


def test_the_keys_of_several_sets_are_joined_and_of_other_options_the_last_value_counts(script: Script) -> None:
    script.path.write_text(script.path.read_text().replace("scale=32   ", "set=   ").replace(" scale ", " set "))
    values = script.values("--set", "a=1 b=2", "--nj", "3", "data", "--set=b=3", "--nj", "2")
    assert (values["set"], values["nj"]) == ("a=1 b=2 b=3", "2")


def test_a_path_below_the_folder_of_work_stays_relative(tmp_path: Path) -> None:
    script = Script(tmp_path, before=f"start_dir='{tmp_path}/egs'\ncd '{tmp_path}'")
    values = script.values("--config", "a.yaml", "--exp-dir", "../exp/x", "data")
    assert (values["config"], values["exp_dir"]) == ("egs/a.yaml", "egs/../exp/x")
    script = Script(tmp_path, before="start_dir=$PWD")
    values = script.values("--config", "no", "--exp-dir", "exp/x/", "data")
    assert (values["config"], values["exp_dir"]) == ("./no", "exp/x")


def test_paths_are_relative_to_where_the_user_stood(tmp_path: Path) -> None:
    script = Script(tmp_path, before="start_dir=$PWD\ncd /")
    values = script.values("--config", "./a/b.yaml", "--exp-dir", "/abs", "--NODE_ADDR", "rel", "data")
    assert values["config"] == f"{tmp_path}/a/b.yaml"
    assert values["exp_dir"] == "/abs"
    assert values["NODE_ADDR"] == "rel"
    assert script.values("--config=", "data")["config"] == ""
    assert script.values("data")["exp_dir"] == "/exp/a b"


@pytest.mark.parametrize(("given", "path"), [("foo/", "foo"), ("foo//", "foo"), ("/", "/"), ("/a/b/", "/a/b")])
def test_slashes_at_the_end_of_a_folder_go(script: Script, given: str, path: str) -> None:
    values = script.values("--exp-dir", given, "--config", given, "data")
    assert (values["exp_dir"], values["config"]) == (path, given)


def test_paths_stay_without_start_dir(script: Script) -> None:
    assert script.values("--config", "a.yaml", "data")["config"] == "a.yaml"


def test_is_given(tmp_path: Path) -> None:
    after = 'for name in nj scale dither; do if is_given $name; then echo "given $name"; fi; done'
    done = Script(tmp_path, after=after)("--scale", "32", "--dither", "data")
    assert re.findall(r"given (\w+)", done.stdout) == ["scale", "dither"]


def test_in_stage(tmp_path: Path) -> None:
    after = 'for n in 0 1 2 3 4 9; do if in_stage $n "title $n"; then echo "ran $n"; fi; done; echo end'
    script = Script(tmp_path, after=after)
    done = script("--stage", "2", "--stop-stage", "3", "data")
    assert re.findall(r"ran (\d)", done.stdout) == ["2", "3"]
    assert done.stdout.endswith("end\n")
    first, second = done.stderr.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d x.sh: stage 2: title 2", first)
    assert re.fullmatch(r".* stage 3: title 3 \(stage 2 took \d s\)", second)
    assert re.findall(r"ran (\d)", script("--stage", "0", "--stop-stage", "9", "data").stdout) == list("012349")


def test_in_a_stage_lines_go_to_its_log_and_what_is_told_to_stderr(tmp_path: Path) -> None:
    after = f'stage_logs={tmp_path}; if in_stage 2 a; then say b; tell c; say "warning: d"; fi; end_stages'
    done = Script(tmp_path, after=after)("--stage", "2", "--stop-stage", "2", "data")
    told = [re.sub(r"^[\d:]{8} ", "", line) for line in done.stderr.splitlines()]
    assert told[:3] == ["stage 2: a, stage2.log", "c", "warning: d"] and told[3].startswith("done (stage 2 took 0 s, ")
    log = [line.partition(" x.sh: ")[2] for line in (tmp_path / "stage2.log").read_text().splitlines()]
    assert log == [told[0], "b", *told[1:]]


def test_a_warning_is_shown_once_a_run_and_stands_in_each_log(tmp_path: Path) -> None:
    (tmp_path / "warnings.log").write_text("")  # by steps/recipe.sh
    warn = 'say "warning: d"; say "warning: d e"'
    done = Script(tmp_path, after=f"stage_logs={tmp_path}; in_stage 2 a; {warn}; in_stage 3 b; {warn}")("data")
    assert [line[9:] for line in done.stderr.splitlines() if "warning" in line] == ["warning: d", "warning: d e"]
    assert all((tmp_path / f"stage{n}.log").read_text().count("x.sh: warning: d\n") == 1 for n in (2, 3))


def test_an_error_stands_in_the_log_of_its_stage_as_well(tmp_path: Path) -> None:
    done = Script(tmp_path, after=f'stage_logs={tmp_path}; in_stage 2 a; die "no room; make some"')("data")
    assert done.returncode == 1 and done.stderr.endswith("\nx.sh: error: no room; make some\n")
    assert (tmp_path / "stage2.log").read_text().endswith(" x.sh: error: no room; make some\n")


def test_times_of_the_last_stage_and_of_the_run_go_on_in_another_script(tmp_path: Path) -> None:
    after = 'if in_stage 2 a; then SECONDS=$((SECONDS + 20)); with_stage bash "$0" --stage 3 --stop-stage 3 data; fi\n'
    after += "if in_stage 3 b; then SECONDS=$((SECONDS + 10)); end_stages; fi"
    done = Script(tmp_path, after=after)("--stage", "2", "--stop-stage", "2", "data")
    told = [line.partition(" x.sh: ")[2] for line in done.stderr.splitlines()]
    assert told[0] == "stage 2: a" and re.fullmatch(r"stage 3: b \(stage 2 took 2\d s\)", told[1])
    assert re.fullmatch(r"done \(stage 3 took 1\d s, the whole run 3\d s\)", told[2]) and len(told) == 3


def test_die_and_usage_error(tmp_path: Path) -> None:
    done = Script(tmp_path, after='die "a is wrong; mend it"')("data")
    assert (done.returncode, done.stderr) == (1, "x.sh: error: a is wrong; mend it\n")
    done = Script(tmp_path, after='usage_error "b is wrong"')("data")
    assert done.returncode == 2
    assert done.stderr.startswith("x.sh: error: b is wrong\nUsage: x.sh")


def test_verbose_sets_the_environment(tmp_path: Path) -> None:
    script = Script(tmp_path, after='echo "verbose=${SV_VERBOSE:-}"')
    assert "verbose=1" in script("--verbose", "data").stdout
    env = {key: value for key, value in os.environ.items() if key != "SV_VERBOSE"}
    done = subprocess.run(["bash", script.path, "data"], capture_output=True, text=True, env=env)
    assert "verbose=\n" in done.stdout


def test_a_line_that_is_not_an_option_is_the_authors_mistake(tmp_path: Path) -> None:
    script = Script(tmp_path, before="")
    script.path.write_text(script.path.read_text().replace("nj=4", "export nj=4"))
    done = script("data")
    assert done.returncode == 1
    assert "not an option line: export nj=4" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--stage", "9"], 0, "9 to 9"),
        (["--stage", "9", "--stop-stage", "8"], 2, "--stage 9 comes after --stop-stage 8: nothing to do"),
        (["--stage", "3", "--stop-stage", "9"], 0, "3 to 9"),
        (["--stop-stage", "9"], 0, "1 to 9"),
        (["--stage", "3", "--stop-stage", "10"], 2, "--stop-stage 10: the last stage is 9"),
        (["--stage", "10"], 2, "--stage 10: stages begin at 0 and end at 9; leave --stage out for a whole"),
        (["--stage", "-1"], 2, "--stage -1: stages begin at 0 and end at 9; leave --stage out for a whole"),
        (["--stage", "4", "--stop-stage", "3"], 2, "--stage 4 comes after --stop-stage 3"),
    ],
)
def test_a_stage_that_is_run_only_when_asked(tmp_path: Path, words: list[str], status: int, said: str) -> None:
    script = Script(tmp_path, after='check_stages 0 8 9\necho "$stage to $stop_stage"')
    done = script(*words, "data")
    assert done.returncode == status
    assert said in done.stdout + done.stderr


def test_names_of_another_toolkit_are_answered(script: Script) -> None:
    done = script("--HOST_NODE_ADDR=localhost:29400", "data")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "x.sh: error: unknown option --HOST_NODE_ADDR: leave it out, the processes of --num-nodes find one another"
    )
    assert "--set num_avg=N" in script("--num-avg", "10", "data").stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("bash -c 'kill -9 $$'", "bash was killed by signal 9 (SIGKILL); most often memory ran out"),
        ('step=(bash -c "kill -9 \\$\\$"); "${step[@]}"', "bash was killed by signal 9 (SIGKILL); most often memory"),
        (
            'f() { local x; x=$(bash -c "kill -9 \\$\\$"); echo "$x"; }; f',
            "bash was killed by signal 9 (SIGKILL); most",
        ),
        ("bash -c 'kill -9 $$' | cat", "a command was killed by signal 9 (SIGKILL); most often memory ran out"),
        ("bash -c 'kill -SEGV $$'", "bash was killed by signal 11 (SIGSEGV); the same command goes on"),
        ("bash x.sh data inner", "bash was killed by signal 9 (SIGKILL); most often memory ran out"),
    ],
)
def test_a_command_that_a_signal_ends_is_told_once(tmp_path: Path, command: str, told: str) -> None:
    inner = "if [[ ${2:-} == inner ]]; then bash -c 'kill -9 $$'; fi"
    script = Script(
        tmp_path, after=f"export SV_STAGE_LOG=$PWD/stage.log\n: >>stage.log\n{inner}\n{command}\necho went on"
    )
    done = script("data")
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and line.startswith(f"x.sh: error: {told}") and "went on" not in done.stdout
    assert line.endswith(f"; the same command goes on; log: {tmp_path}/stage.log")
    assert (tmp_path / "stage.log").read_text()[20:] == f"{line}\n"


@pytest.mark.parametrize("command", ["false", "(exit 7)", "yes | head -n 1", "(exit 255)"])
def test_a_failure_without_a_signal_is_left_to_its_command(tmp_path: Path, command: str) -> None:
    assert Script(tmp_path, after=command)("data").stderr == ""
