"""Rights: one holder, known by its pid, free at its death."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.errors import EngineUnavailableError, StoreError
from headrace.host import rights
from headrace.host.rights import holder_of, take_engine_right, take_right


def test_a_right_has_one_holder_and_is_free_again_when_released(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "engine.lock"
    assert holder_of(path) is None
    right = take_right(path)
    assert right is not None
    assert holder_of(path) == os.getpid()
    assert take_right(path) is None
    with right:
        pass
    assert holder_of(path) is None
    right.release()  # twice does no harm
    with take_right(path) as again:  # pyright: ignore[reportOptionalContextManager]
        assert again.path == path


@pytest.mark.process
def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "engine.lock"
    hold = (
        "import sys, time\nfrom pathlib import Path\nfrom headrace.host.rights import take_right\n"
        "right = take_right(Path(sys.argv[1]))\nprint('held', flush=True)\nsys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert holder_of(path) == child.pid
    assert take_right(path) is None
    child.kill()
    child.communicate()
    assert holder_of(path) is None


def test_a_place_that_cannot_hold_a_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="a lock cannot be taken") as caught:
        take_right(tmp_path / "file" / "engine.lock")
    assert caught.value.code == "HR4030"


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreError, match="the disk is full"):
            take_right(tmp_path / "engine.lock")
    assert holder_of(tmp_path / "engine.lock") is None


def test_a_forked_child_keeps_no_right_of_its_parent(tmp_path: Path) -> None:
    right = take_right(tmp_path / "shard.lock")
    assert right is not None
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        theirs.send(b"up")
        theirs.recv(1)  # lives on after the right was given back
        os._exit(0)
    try:
        assert ours.recv(2) == b"up"
        right.release()
        assert holder_of(tmp_path / "shard.lock") is None
    finally:
        ours.send(b"1")
        os.waitpid(child, 0)
        ours.close()
        theirs.close()


def test_who_only_looks_is_no_holder_and_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `holder_of` in another process, for a moment
    assert holder_of(path) is None
    monkeypatch.setattr(rights.time, "sleep", lambda seconds: os.close(looking))
    with take_engine_right(tmp_path):
        assert holder_of(path) == os.getpid()
        with pytest.raises(EngineUnavailableError, match=f"process {os.getpid()}"):
            take_engine_right(tmp_path)


def test_who_looks_without_end_is_waited_for_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine.lock"
    path.touch()
    looking = os.open(path, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    slept: list[float] = []
    monkeypatch.setattr(rights.time, "sleep", slept.append)
    try:
        assert take_right(path) is None
    finally:
        os.close(looking)
    assert sum(slept) == pytest.approx(1)
