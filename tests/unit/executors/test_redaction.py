"""Secrets of this process: never in what it prints, nor in the text of its errors."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.definitions.nodes import Node
from headrace.executors.output import LogFile, Tee, text_output
from headrace.executors.protocol import Failed
from headrace.executors.redaction import MASK, conceal, redacted
from headrace.executors.tracebacks import one_line, user_frames

PASSWORD = "corr3ct-horse"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\n-----END KEY-----"


@pytest.fixture(autouse=True)
def known() -> None:
    conceal(PASSWORD)
    conceal(KEY)


def failed(new_bench: Any, fn: Any) -> Failed:
    report = new_bench([Node("f", "task", "m:f")], {"f": fn}).report("f")
    assert isinstance(report, Failed)
    return report


def written(path: Path, *parts: str) -> str:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    out = text_output(fd)
    for part in parts:
        out.write(part)
    out.flush()
    os.close(fd)
    return path.read_text()


@pytest.mark.parametrize("value", [PASSWORD, KEY, "MIIEvQIBADANBg", repr(KEY)[1:-1]])
def test_a_value_its_lines_and_its_repr_are_concealed(value: str) -> None:
    text = redacted(f"cannot log in with {value}, sorry")
    assert text.startswith(f"cannot log in with {MASK}")
    assert text.endswith(", sorry")
    assert not any(part in text for part in (PASSWORD, "MIIE", "kqhk"))


def test_a_value_with_quotes_and_backslashes_is_found_in_its_repr() -> None:
    value = 'it\'s\\a "secret"'
    conceal(value)
    assert redacted(f"{[value]!r}") in (f"['{MASK}']", f'["{MASK}"]')


def test_a_secret_within_another_one_leaves_nothing_of_the_other() -> None:
    conceal("postgres://ada:lovelace-1815@db/main")
    conceal("lovelace-1815")
    assert redacted("postgres://ada:lovelace-1815@db/main and lovelace-1815") == f"{MASK} and {MASK}"


def test_short_values_are_left_alone() -> None:
    conceal("abc")
    conceal("")
    assert redacted("abc of the alphabet") == "abc of the alphabet"


def test_output_conceals_a_value_that_comes_in_pieces(tmp_path: Path) -> None:
    assert written(tmp_path / "log", "it is corr3ct", "-horse", " today\n", "and\n") == f"it is {MASK} today\nand\n"


def test_output_keeps_what_is_no_secret_byte_for_byte(tmp_path: Path) -> None:
    lines = "ü🚀 \ud800\n" * 5000
    assert written(tmp_path / "log", lines) == "ü🚀 \\ud800\n" * 5000


def test_print_and_logging_of_a_run_in_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFile(tmp_path / "log", "log")
    with Tee(log):
        print(f"the key is {KEY}")
        logging.getLogger("my.task").warning("with %s", PASSWORD)
        print(PASSWORD, file=sys.stderr)
    log.close()
    text = (tmp_path / "log").read_text()
    assert f"the key is {MASK}\n" in text
    assert f"my.task with {MASK}\n" in text
    shown = capsys.readouterr()
    assert PASSWORD not in text + shown.out + shown.err
    assert "MIIE" not in text + shown.out


def test_handlers_made_before_a_run_in_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", EARLIER_HANDLERS, str(tmp_path / "log"), PASSWORD],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stderr == f"INFO:app:with {MASK}\nto the original {MASK}\nbare {PASSWORD}\n"
    assert ran.stdout == f"held {MASK}\nto the original {MASK}\n"


EARLIER_HANDLERS = """
import logging, sys
from pathlib import Path
from headrace.executors.output import LogFile, Tee
from headrace.executors.redaction import conceal
logging.basicConfig(level=logging.INFO)
held, secret = logging.StreamHandler(sys.stdout), sys.argv[2]
conceal(secret)
with Tee(LogFile(Path(sys.argv[1]), "log")):
    logging.getLogger("app").info("with %s", secret)
    held.emit(logging.makeLogRecord({"msg": f"held {secret}"}))
    for stream in (sys.__stderr__, sys.__stdout__):
        print("to the original", secret, file=stream)
print("bare", secret, file=sys.stderr)  # what does not run in Headrace is not its to change
"""


def test_the_original_streams_of_a_worker_conceal_too(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", ORIGINALS, str(tmp_path / "log"), PASSWORD], check=True)
    assert (tmp_path / "log").read_text() == f"out {MASK}\nerr {MASK}\n"


ORIGINALS = """
import sys
from pathlib import Path
from headrace.executors.output import LogFile, ProcessOutput
from headrace.executors.redaction import conceal
conceal(sys.argv[2])
output = ProcessOutput(LogFile(Path(sys.argv[1]), "log"))
sys.__stdout__.write(f"out {sys.argv[2]}\\n")
print("err", sys.argv[2], file=sys.__stderr__)
"""


def test_message_and_traceback_of_a_failed_attempt(new_bench: Any) -> None:
    def connect() -> None:
        try:
            raise KeyError(KEY)
        except KeyError as error:
            raise ConnectionError(f"refused: postgres://me:{PASSWORD}@db") from error

    report = failed(new_bench, connect)
    assert report.error == f"ConnectionError: refused: postgres://me:{MASK}@db"
    assert f"KeyError: '{MASK}'" in report.detail
    assert PASSWORD not in report.detail
    assert "MIIE" not in report.detail


def test_a_value_is_concealed_before_the_text_is_cut(new_bench: Any) -> None:
    error = ValueError("x" * 480 + PASSWORD)
    assert "corr3" not in one_line(error)
    assert "corr3" not in user_frames(error)
    assert one_line(ValueError(KEY)) == f"ValueError: {MASK}"
    report = failed(new_bench, lambda: sys.exit("x" * 73 + PASSWORD))
    assert "corr3" not in report.error
