"""Who is struck: every failpoint has its turn, and everybody who was stopped goes on."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.host.failpoints import FOLDER, POINTS, armed_in
from headrace.testing.chaos.ledger import Struck, read_ledger
from headrace.testing.chaos.striker import Striker

ROOMS = ["engine", "worker", "shard", "client"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def striker(folder: Path, seed: int = 1) -> Striker:
    return Striker(folder, folder, random.Random(seed), gap_s=0.001)


def test_every_point_has_its_turn(tmp_path: Path) -> None:
    made = striker(tmp_path)
    armed = [name for _ in range(40) for name in armed_in(made.arm("", ROOMS))]
    assert set(armed) == set(POINTS)


def test_who_strikes_itself_is_counted_under_its_kind_and_point(tmp_path: Path) -> None:
    made = striker(tmp_path)
    while FOLDER not in (environment := made.arm("", ["shard"])):
        continue
    (Path(environment[FOLDER]) / "shard.after_commit").write_text("17 kill\n")
    made.rest()
    assert (made.kills["stream"], made.points["shard.after_commit"]) == (1, 1)
    assert not Path(environment[FOLDER]).exists(), "no other process can strike from now on"
    (strike,) = read_ledger(tmp_path).strikes
    assert strike == Struck("stream", 17, "kill", "shard.after_commit", strike.at_us)


def test_who_was_stopped_goes_on_when_the_faults_are_over(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    made = striker(tmp_path)
    while FOLDER not in (environment := made.arm("", ["engine"])):
        continue
    sleeper.send_signal(signal.SIGSTOP)
    (Path(environment[FOLDER]) / "engine.log_taken").write_text(f"{sleeper.pid} stop\n")
    made.rest()
    assert [strike.what for strike in read_ledger(tmp_path).strikes] == ["stop", "continue"]
    assert "T" not in Path(f"/proc/{sleeper.pid}/stat").read_text().split()[2]


def test_a_client_is_struck_in_the_end(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.testing.chaos.striker.PATIENCE_S", 0.0)  # for kinds that do not live here
    made = striker(tmp_path)
    while not made.kills["client"]:
        made.tend(None, [sleeper.pid])
    assert sleeper.wait(120) == -signal.SIGKILL


def test_an_engine_in_calm_begins_with_nobody_paused_beside_it(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.testing.chaos.striker.SPARED", 1.0)
    monkeypatch.setattr("headrace.testing.chaos.striker.CALM", 1.0)
    made = striker(tmp_path)
    while FOLDER not in (environment := made.arm("", ["engine"])):
        continue
    sleeper.send_signal(signal.SIGSTOP)
    (Path(environment[FOLDER]) / "engine.log_taken").write_text(f"{sleeper.pid} stop\n")
    while not made.pauses["engine"]:
        made.tend(None, [])
    assert made.arm_engine() == {}
    assert made.is_calm, "nobody asks anything either"
    made.spare_no_longer()
    assert not made.is_calm
    assert [strike.what for strike in read_ledger(tmp_path).strikes] == ["stop", "continue"]
