from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.definitions.nodes import Const, Node
from headrace.executors.inline import InlineExecutor
from headrace.executors.output import LogFile, Tee
from headrace.executors.protocol import Done, PinAsked, Ready, Start


@pytest.fixture
def inline(new_bench: Any, tmp_path: Path):
    def speak(text: str) -> int:
        print(text)
        sys.stderr.write("stderr\n")
        logging.getLogger("my.task").warning("logged")
        return 1

    nodes = [Node(n, "task", f"m:{n}", inputs={"text": Const(n)}) for n in ("one", "two")]
    bench = new_bench([*nodes, Node("quiet", "task", "m:quiet")], {"one": speak, "two": speak, "quiet": int})
    executor = InlineExecutor(bench.runner, tmp_path / "logs" / "run1.log", lambda asked: asked.pin)
    executor.spawn("here")
    yield executor
    executor.close()


def said(tmp_path: Path, report: Any) -> str:
    return (tmp_path / "logs" / report.log.file).read_text()[report.log.start : report.log.end]


def test_reports_are_there_when_send_returns(inline: InlineExecutor):
    inline.send("here", [Start(1, "run1", "p", "one"), Start(2, "run1", "p", "quiet")])
    ready, one, two = inline.receive("here")
    assert isinstance(ready, Ready)
    assert isinstance(one, Done)
    assert two.log is None
    assert inline.receive("here") == []
    assert inline.begun("here").serial == 2


def test_output_is_shown_and_kept(inline: InlineExecutor, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = sys.stdout, sys.stderr
    inline.send("here", [Start(1, "run1", "p", "one"), Start(2, "run1", "p", "two")])
    one, two = inline.receive("here")[1:]
    assert said(tmp_path, one).startswith("one\nstderr\n")
    assert said(tmp_path, two).startswith("two\n")
    assert "WARNING my.task logged" in said(tmp_path, two)
    assert capsys.readouterr().out == "one\ntwo\n"
    assert (sys.stdout, sys.stderr) == before


def test_what_is_printed_outside_attempts_is_not_kept(inline: InlineExecutor, tmp_path: Path):
    print("outside")
    inline.send("here", [Start(1, "run1", "p", "one")])
    assert "outside" not in (tmp_path / "logs" / "run1.log").read_text()


def test_a_pin_is_decided_while_the_attempt_waits(new_bench: Any, tmp_path: Path):
    asked: list[PinAsked] = []
    bench = new_bench([Node("f", "task", "m:f")], {"f": lambda: bench.access.ask("table:orders", 7)})
    executor = InlineExecutor(bench.runner, tmp_path / "run1.log", lambda pin: asked.append(pin) or 4)
    executor.spawn("here")
    executor.send("here", [Start(3, "run1", "p", "f")])
    done: Any = executor.receive("here")[1]
    assert bench.values.decode(done.result) == 4
    assert asked == [PinAsked(3, "table:orders", 7)]
    executor.close()


def test_a_log_that_cannot_be_opened_leaves_the_process_as_it_was(new_bench: Any, tmp_path: Path):
    bench = new_bench([], {})
    (tmp_path / "file").write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"exists|directory"):
        InlineExecutor(bench.runner, tmp_path / "file" / "run1.log", lambda pin: None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_printed_line_is_one_write_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    log = LogFile(tmp_path / "log", "log")
    written: list[bytes] = []
    monkeypatch.setattr(log, "write", written.append)
    with Tee(log):
        print("a", "line", "of", 5, "words")
        print("no end", end="")
    log.close()
    assert written == [b"a line of 5 words\n", b"no end"]


def test_what_is_flushed_is_shown_before_its_line_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = LogFile(tmp_path / "log", "log")
    with Tee(log):
        print("half", end="", flush=True)
        assert capsys.readouterr().out == "half"
    log.close()
