"""`headrace run`, `doctor`, and the lines that a run and an engine print."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from headrace.cli.dev import stopping
from headrace.cli.news import line_of
from headrace.cli.progress import Bars, Counts, PlainLines
from headrace.cli.run import in_one_line
from headrace.data.facts import Part, TablePublished
from headrace.definitions.nodes import Const, Graph, Node, Scope
from headrace.errors import StoreError
from headrace.executors.output import LogFile, Tee
from headrace.models.facts import AliasMoved, RetrainAsked, WindowJudged
from headrace.ports import Append, Committed
from headrace.runs import facts as f
from headrace.runs.facts import Value
from headrace.store.sql.engine_store import EngineSqlStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Headrace

pytestmark = pytest.mark.headrace_project

GRAPH = Graph((Node("files", "task", "m:f"), Node("load", "task", "m:l", scope=("s",))), (Scope("s", Const([1, 2])),))


def started(node: str) -> f.AttemptSucceeded:
    return f.AttemptSucceeded("r", node, "", 0, 1, 1, 0, 5_000, Value("json"))


def test_a_run_here_takes_parameters_and_leaves_a_record(headrace: Headrace, project: Path) -> None:
    result = headrace("run", "retrain", "rounds=3")
    assert result.code == 0, result.err
    assert [line.split()[:2] for line in result.out.splitlines()[:2]] == [
        ["ingest", "succeeded"],
        ["train", "succeeded"],
    ]
    (row,) = headrace("runs", "ls", "--json").json()
    assert (row["params"], row["state"], row["cause"]) == ({"rounds": 3}, "succeeded", "here")


def test_a_run_as_json_is_its_facts_and_at_last_its_state(headrace: Headrace, project: Path) -> None:
    lines = [msgspec.json.decode(line) for line in headrace("run", "retrain", "--json").out.splitlines()]
    assert [line["kind"] for line in lines[:-1]].count("AttemptSucceeded") == 2
    assert lines[-1] == {"run": lines[-1]["run"], "pipeline": "retrain", "state": "succeeded"}


def test_a_window_is_filled_from_the_schedule_or_from_the_flag(headrace: Headrace, project: Path) -> None:
    assert headrace("run", "nightly").code == 0
    assert headrace("run", "nightly", "--window", "2013-01-01", "1d").code == 0
    given, slot = sorted(row["window"] for row in headrace("runs", "ls", "--json").json())
    assert given == [1_356_998_400_000_000, 1_357_084_800_000_000]
    assert slot[1] - slot[0] == 86_400_000_000


def test_a_file_is_named_with_its_pipeline_or_holds_only_one(headrace: Headrace, project: Path) -> None:
    (project / "two.py").write_text(
        "import headrace as hr\n@hr.task\ndef a(): pass\n@hr.pipeline\ndef p(): a()\n@hr.pipeline\ndef q(): a()\n"
    )
    result = headrace("run", "two.py")
    assert result.code == 2
    assert "two.py has 2 pipelines: p, q" in result.err
    assert headrace("run", "two.py:q").code == 0


def test_a_project_that_does_not_load_says_where(headrace: Headrace, project: Path) -> None:
    (project / "cliflights" / "broken.py").write_text("import nothing_like_this\n")
    result = headrace("run", "retrain")
    assert result.code == 2
    assert f"at   {project}/cliflights/broken.py:1" in result.err


def test_doctor_names_a_secret_without_value(
    headrace: Headrace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    with (project / "headrace.toml").open("a") as file:
        file.write('[secrets]\nwarehouse = "env:NO_SUCH_VARIABLE"\n')
    result = headrace("doctor", "--json")
    assert result.code == 1
    (secret,) = [finding for finding in result.json() if finding["what"] == "secret"]
    assert secret["level"] == "fail"
    assert "NO_SUCH_VARIABLE" in secret["cure"]


def test_doctor_names_a_secret_that_is_too_short_to_be_concealed(
    headrace: Headrace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = project / "headrace.toml"
    toml.write_text(toml.read_text() + '\n[secrets]\npin = "env:TEST_PIN"\n')
    monkeypatch.setenv("TEST_PIN", "123")
    result = headrace("doctor")
    assert "pin is shorter than 4 characters: it is not concealed in logs and errors" in result.out
    assert "123" not in result.out


def test_doctor_finds_a_damaged_store(headrace: Headrace, project: Path) -> None:
    (project / ".headrace").mkdir()
    (project / ".headrace" / "headrace.db").write_bytes(b"this is not a database" * 400)
    result = headrace("doctor")
    assert result.code == 1
    assert "HR4040" in result.out
    assert "Traceback" not in result.out + result.err


def test_doctor_without_a_project_only_warns(headrace: Headrace, tmp_path: Path) -> None:
    result = headrace("doctor", "--project", tmp_path, "--json")
    assert result.code == 0
    assert [finding["what"] for finding in result.json() if finding["level"] == "warn"] == ["project"]


def test_the_items_of_a_map_are_counted_and_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines(GRAPH) as view:
        view.take([f.MapExpanded("r", "s", "", 2), started("load"), started("files")])
        view.take([started("load")])
    assert capsys.readouterr().out.splitlines() == ["files succeeded in 5ms", "load succeeded: 2 items"]


def test_an_item_of_a_map_that_fails_is_told_with_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines(GRAPH) as view:
        view.take(
            [f.AttemptFailed("r", "load", "", 0, 1, 1, 0, "E: x"), f.AttemptFailed("r", "files", "", 0, 1, 1, 0, "E")]
        )
    assert capsys.readouterr().out.splitlines() == ["load[0] failed (attempt 1): E: x", "files failed (attempt 1): E"]


def test_a_try_that_is_repeated_does_not_count_as_an_end() -> None:
    counts = Counts(GRAPH)
    counts.take(f.AttemptFailed("r", "files", "", 0, 1, 1, 0, "E", retry_at_us=1))
    assert not counts.is_complete("files")
    counts.take(f.AttemptFailed("r", "files", "", 0, 2, 2, 0, "E"))
    assert counts.is_complete("files")
    assert counts.failed["files"] == 1


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        (f.RunCreated("r", "p", "c", "k", "event", 0), "run r of p by event"),
        (
            f.AttemptFailed("r", "a", "", 0, 1, 1, 0, "E: x", retry_at_us=2_000_000),
            "run r a failed (attempt 1): E: x; again in 2.0s",
        ),
        (
            f.RunCreated("r", "p", "c", "k", "schedule", 0, {}, None, why="drift: psi is above 0.2; auc 0.7 is fine"),
            "run r of p by schedule (drift: psi is above 0.2)",
        ),
        (f.SlotsSkipped("p", "s", 0, 1, 1, "as it is said", 0, "asked"), "p asks the model's controller"),
        (
            TablePublished("t", 3, (Part("p", 1, 1, "", (0, 9), "r2"),), 1, "r2", "n", 0, 1, 0, replaced=("r1",)),
            "t: version 3 of run r2 replaces the rows of run r1",
        ),
        (f.RunEnded("r", "failed", 0, "a"), "run r failed: a"),
        (
            f.RequestAnswered(3, "refused", {"code": "HR3010", "message": "run r is not running"}, 0),
            "request 3 is refused: HR3010 run r is not running",
        ),
        (f.TriggerSuppressed("p", "k", "the pipeline is paused", 0), "p is not started: the pipeline is paused"),
        (AliasMoved("delay", "champion", 2, 1, "gate", "gains", 0), "delay: version 2 is the champion (gains)"),
        (RetrainAsked("delay", "drift", "e", 0, False, "cool-down", 0), "delay: drift asks for a training: cool-down"),
        (
            WindowJudged("watch", "delay", (0, 86_400_000_000), 1, 7, True, "", None, "r", 0, {"drift": True}),
            "watch: all until 1970-01-02T00:00Z crossed drift, 7 rows",
        ),
    ],
)
def test_news_are_one_line(fact: f.Fact, line: str) -> None:
    told = line_of(fact)
    assert told is not None
    assert told[0] == line


def test_what_nobody_wants_to_read_is_no_news() -> None:
    assert line_of(f.AttemptStarted("r", "a", "", 0, 1, 1, "w1#1", 0)) is None
    assert line_of(f.RequestAnswered(3, "done", {"run": "r"}, 0)) is None


def test_the_first_signal_asks_to_stop_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert should_stop()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_goes_on_when_nobody_reads_what_it_says(headrace: Headrace, project: Path) -> None:
    for words in ("", " --json"):
        shell = f"{sys.executable} -m headrace run retrain{words} | head -c 1"
        subprocess.run(shell, shell=True, capture_output=True, check=True)
    assert {run["state"] for run in headrace("runs", "ls", "--json").json()} == {"succeeded"}


def test_an_output_that_cannot_be_written_is_an_error_with_a_code(project: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "headrace", "pipelines", "ls"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 6
    assert "HR4090 the system refused: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_the_system_refuses_is_named(headrace: Headrace, project: Path) -> None:
    result = headrace("new", "x" * 5000)
    assert result.code == 6
    assert "HR4090 the system refused: File name too long" in result.err


def test_a_store_that_is_full_ends_the_run_with_its_code_and_says_what_becomes_of_it(
    headrace: Headrace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = EngineSqlStore.commit

    def full_from_the_first_result_on(self: EngineSqlStore, appends: Sequence[Append]) -> Committed:
        if any(fact.kind == "AttemptSucceeded" for append in appends for fact in append.facts):
            raise StoreError("the disk is full", cure="free some space", code="HR4020")
        return commit(self, appends)

    monkeypatch.setattr(EngineSqlStore, "commit", full_from_the_first_result_on)
    result = headrace("run", "retrain")
    assert result.code == 6
    assert result.err.startswith("HR4020 the disk is full")
    assert "Traceback" not in result.err
    (row,) = headrace("runs", "ls", "--json").json()
    assert row["state"] == "running"
    assert f"run {row['run']} goes no further and stays open until an engine" in result.err


def test_a_folder_that_may_only_be_read_is_named_with_its_cure(
    headrace: Headrace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write everywhere
    result = headrace("run", "retrain")
    assert result.code == 6
    assert result.err.startswith("HR4030 the database cannot be written or opened")
    assert "belong to you and are writable" in result.err


def test_a_check_of_a_large_project_fits_a_terminal(headrace: Headrace, project: Path) -> None:
    topics = "\n".join(f"t{n} = hr.Topic('t{n:03}')" for n in range(300))
    (project / "cliflights" / "more.py").write_text(f"import headrace as hr\n{topics}\n")
    shown = headrace("check").out
    assert "topics    departures, scores, t000, t001," in shown
    assert "t009 … and 290 more" in shown
    assert len(headrace("check", "--json").json()["found"]["topics"]) == 302


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_a_task_prints_appears_above_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal := _Terminal())
    log = LogFile(tmp_path / "log", "log")
    with Bars(Graph(())):
        with Tee(log):
            print("a line of", "a task")
        assert "a line of a task" in terminal.getvalue()
    log.close()
    assert (tmp_path / "log").read_text() == "a line of a task\n"


@pytest.mark.parametrize(
    ("value", "line"),
    [("one", "'one'"), ([1, 2], "[1, 2]"), ("x" * 500, f"'{'x' * 159} …")],
)
def test_a_result_is_one_line(value: object, line: str) -> None:
    assert in_one_line(value) == line


def test_a_run_ends_with_its_result(headrace: Headrace, project: Path) -> None:
    assert headrace("run", "retrain", "rounds=3").out.splitlines()[-1] == "result  3"


def test_a_file_without_a_project_says_where_its_store_is(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alone.py").write_text("import headrace as hr\n@hr.task\ndef a(): pass\n@hr.pipeline\ndef p(): a()\n")
    first = headrace("run", "alone.py:p")
    assert first.code == 0
    assert f"{tmp_path / '.headrace'} is the store" in first.err
    assert "is the store" not in headrace("run", "alone.py:p").err


def test_a_pipeline_that_a_file_does_not_have_is_cured_by_one_that_it_has(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alone2.py").write_text("import headrace as hr\n@hr.task\ndef a(): pass\n@hr.pipeline\ndef p(): a()\n")
    result = headrace("run", "alone2.py:q")
    assert result.code == 3
    assert "try  headrace run alone2.py:p" in result.err


def test_a_mistake_in_a_file_is_told_and_not_that_its_pipeline_is_missing(
    headrace: Headrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = "import headrace as hr\n@hr.task\ndef a(): pass\n@hr.pipeline\ndef p():\n    f'{a()}'\n"
    (tmp_path / "alone3.py").write_text(body)
    result = headrace("run", "alone3.py:p")
    assert result.code == 2
    assert "HR1106" in result.err
    assert "an f-string needs its value" in result.err
    assert "alone3.py:6" in result.err
