"""What a person reads of a failure in a real worker or stream process: the own file, and never a secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from living import Living

from headrace.definitions.project import TopicDef
from headrace.store.sql.reads import streams as stream_rows

pytestmark = pytest.mark.process

EVENTS = TopicDef(name="events", schema={"id": "str"}, key="id", partitions=1)
PASSWORD = "hunter2-and-more"
KEY = "first line of the key\nsecond line of the key"
CODE = """
import logging, sys
password, key = hr.Secret("password"), hr.Secret("key")
events = hr.Topic("events", schema={"id": str}, key="id", partitions=1)
out = hr.Topic("out", key="id", partitions=1)

@hr.task
def connect() -> None:
    print("with", password.value())
    sys.stdout.write("in pieces: hunter2"); sys.stdout.write("-and-more\\n")
    logging.getLogger("db").warning("key %s", key.value())
    try:
        raise KeyError(key.value())
    except KeyError as error:
        raise ConnectionError(f"postgres://me:{password.value()}@db refuses") from error

@hr.pipeline
def load() -> None:
    connect()

@hr.stream(events, to=out, start="earliest")
def look_up(row: dict) -> dict:
    print("looking up with", password.value())
    raise ConnectionError(f"postgres://me:{password.value()}@db refuses")
"""
TOML = '[secrets]\npassword = "file:{root}/password"\nkey = "file:{root}/key"\n'


def test_failures_name_the_users_file_and_no_secret(living: Callable[..., Living]) -> None:
    project = living(CODE)
    (project.root / "password").write_text(PASSWORD)
    (project.root / "key").write_text(KEY)
    toml = (project.root / "headrace.toml").read_text()
    (project.root / "headrace.toml").write_text(toml + TOML.format(root=project.root))
    project.append(EVENTS, [{"id": "a"}])
    project.start()
    run = project.trigger("load")
    assert project.ended(run) == "failed"
    error, detail = project.error_of(run)
    assert error == "ConnectionError: postgres://me:***@db refuses"
    assert f'File "{project.root}/flow.py", line' in detail
    assert ".headrace/code" not in detail

    def letters() -> list[stream_rows.DeadLetterRow]:
        return stream_rows.dead_letters(project.store.database, "look_up")

    (letter,) = project.until(letters, "a dead letter")
    assert "postgres://me:***@db refuses" in letter.error
    assert f'File "{project.root}/flow.py", line' in letter.error
    logs = "".join(path.read_text() for path in (project.home / "logs").rglob("*") if path.is_file())
    assert "with ***\nin pieces: ***\n" in logs
    assert "db key ***\n" in logs
    for part in (PASSWORD, *KEY.splitlines()):
        assert part not in detail + letter.error + logs
    project.stop()
    assert PASSWORD.encode() not in project.database.read_bytes()
