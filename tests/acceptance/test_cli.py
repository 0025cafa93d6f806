"""The first half hour, with real processes: a new project, a run here, an engine, a run there."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.headrace_project]

COMMAND = (sys.executable, "-m", "headrace.cli.main")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "PYTEST_"))}

PATIENCE_S = 120.0
Headrace = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "my-project"
    subprocess.run([*COMMAND, "new", str(folder)], check=True, capture_output=True, env=ENVIRONMENT)
    return folder


@pytest.fixture
def headrace(project: Path) -> Headrace:
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            cwd=project,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=ENVIRONMENT,
            check=False,
        )

    return call


class Engine:
    """`headrace dev` in a process of its own; its lines can be waited for."""

    def __init__(self, project: Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "dev"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.seen: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def wait_for(self, text: str) -> str:
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                pytest.fail(f"the engine never said {text!r}; it said:\n" + "\n".join(self.seen))
            self.seen.append(line)
            if text in line:
                return line

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def engine(project: Path) -> Iterator[Engine]:
    running = Engine(project)
    try:
        running.wait_for("deployed")
        yield running
    finally:
        running.close()


def test_the_three_next_steps_of_a_new_project_work(headrace: Headrace, project: Path) -> None:
    assert "no mistakes found" in headrace("check").stdout
    ran = headrace("run", "nightly", "hottest=40")
    assert ran.returncode == 0, ran.stderr
    assert "train succeeded" in ran.stdout
    (table,) = json.loads(headrace("tables", "ls", "--json").stdout)
    assert table["last"]["rows"] == 5
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=project, capture_output=True, text=True,
        env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert "2 passed" in tested.stdout


def test_a_run_that_fails_is_exit_code_1_and_says_where_to_look(headrace: Headrace, project: Path) -> None:
    (project / "broken.py").write_text(
        "import headrace as hr\n\n@hr.task\ndef divide():\n    print('dividing')\n    return 1 / 0\n\n"
        "@hr.pipeline\ndef wrong():\n    divide()\n"
    )
    ran = headrace("run", "broken.py:wrong")
    assert ran.returncode == 1
    assert "ZeroDivisionError" in ran.stdout
    assert "headrace logs" in ran.stderr
    assert "Traceback" not in ran.stderr
    logs = headrace("logs", "wrong").stdout
    assert "dividing" in logs
    assert "return 1 / 0" in logs


def test_an_engine_does_what_it_is_asked_and_stops_when_told(headrace: Headrace, engine: Engine) -> None:
    asked = headrace("trigger", "nightly", "--hottest", "40", "--json", "--timeout", "120")
    assert asked.returncode == 0, asked.stderr
    run = json.loads(asked.stdout)["run"]
    engine.wait_for(f"run {run} succeeded")
    shown = json.loads(headrace("runs", "show", run, "--json").stdout)
    assert shown["run"]["params"] == {"hottest": 40.0}
    assert [task["state"] for task in shown["tasks"]] == ["succeeded"] * 3
    assert "nothing waits or fails" in headrace("why", run).stdout
    assert engine.stop() == 0
    engine.wait_for("stopped")


def test_a_second_engine_is_refused(headrace: Headrace, engine: Engine) -> None:
    second = headrace("dev")
    assert second.returncode == 5
    assert str(engine.process.pid) in second.stderr


def test_a_request_waits_for_the_engine_that_comes(headrace: Headrace, project: Path) -> None:
    asked = headrace("trigger", "nightly", "--no-wait")
    assert asked.returncode == 0
    assert "will be done when `headrace dev` starts" in asked.stderr
    late = Engine(project)
    try:
        late.wait_for("of nightly by person")
        assert late.stop() == 0
    finally:
        late.close()


def test_a_saved_mistake_keeps_the_last_good_version(headrace: Headrace, engine: Engine, project: Path) -> None:
    pipelines = project / "my_project" / "pipelines.py"
    good = pipelines.read_text()
    assert headrace("trigger", "nightly", "--timeout", "120").returncode == 0
    pipelines.write_text(good + "\nx = (\n")
    try:
        engine.wait_for("not deployed")
        assert any(f"{pipelines}:" in line for line in engine.seen)
        assert headrace("trigger", "nightly", "--timeout", "120").returncode == 0
    finally:
        pipelines.write_text(good)


def test_doctor_finds_a_healthy_project(headrace: Headrace, engine: Engine) -> None:
    result = headrace("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert result.returncode == 0, result.stdout
    assert "sound" in findings["store"]["found"]
    assert str(engine.process.pid) in findings["engine"]["found"]
