"""`headrace logs` of streams, and how following a run ends."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from headrace.runs import facts as f
from headrace.runs.facts import LogSpan, Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Headrace
    from headrace.store.sql.store import SqlStore

pytestmark = pytest.mark.headrace_project

RUN = "1ng66r0y5e46"
AT = 1_700_000_000_000_000


@pytest.fixture
def logs(project: Path, store: SqlStore) -> Path:
    folder = project / ".headrace" / "logs"
    folder.mkdir()
    return folder


def test_what_a_stream_has_printed_is_the_end_of_its_processs_log(headrace: Headrace, logs: Path) -> None:
    (logs / "stream-1.log").write_text("".join(f"batch {n}\n" for n in range(150)))
    shown = headrace("logs", "score")
    assert shown.code == 0
    assert shown.out.splitlines() == [f"batch {n}" for n in range(50, 150)]
    (first, *_) = headrace("logs", "score", "--json").out.splitlines()
    assert first == '{"process":"stream-1","line":"batch 50"}'


def test_of_several_stream_processes_each_says_which_it_is(headrace: Headrace, logs: Path) -> None:
    (logs / "stream-1.log").write_text("a\n")
    (logs / "stream-2.log").write_text("b\n")
    assert headrace("logs", "score").out.splitlines() == ["--- stream-1.log", "a", "--- stream-2.log", "b"]


def test_a_stream_that_has_printed_nothing_says_so(headrace: Headrace, logs: Path) -> None:
    shown = headrace("logs", "score")
    assert (shown.code, shown.out) == (0, "")
    assert "nothing was printed by the stream score" in shown.err


def test_following_ends_with_how_the_task_and_the_run_have_ended(
    headrace: Headrace, store: SqlStore, logs: Path, write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        store,
        f.RunCreated(RUN, "retrain", "c0de", "person:2", "person", AT),
        f.AttemptStarted(RUN, "ingest", "", 0, 1, 1, "w1#3", AT),
    )
    (logs / "w1.log").write_text("epoch 1\n")

    def end(_seconds: float) -> None:
        write(
            store,
            f.AttemptSucceeded(RUN, "ingest", "", 0, 1, 1, AT, 9, Value("json", "1"), LogSpan("w1.log", 0, 8)),
            f.RunEnded(RUN, "succeeded", AT + 2_000_000, ""),
        )

    monkeypatch.setattr("headrace.cli.logs.time", SimpleNamespace(sleep=end))
    shown = headrace("logs", RUN, "--follow")
    assert shown.out.splitlines() == [
        "--- ingest attempt 1 running in w1",
        "epoch 1",
        "--- ingest attempt 1 succeeded",
    ]
    assert shown.err.splitlines()[-1] == f"run {RUN} succeeded in 2.0s"
