"""`headrace demo`: a project is laid out, an engine serves it, the year is played, the story is told."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from headrace.app.opening import open_store
from headrace.definitions.project import Project, decode
from headrace.demo import place
from headrace.demo.chaos import Chaos
from headrace.demo.played import Played
from headrace.demo.player import Player
from headrace.demo.record import load
from headrace.errors import EngineUnavailableError
from headrace.host.doorbell import doorbell_path, ring
from headrace.settings import Settings
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.store.sql.reads import project as project_rows
from headrace.store.sql.reads import runs as run_rows

START_S = 120.0
STRIKES = 16  # of --chaos: at least ten of them kill

Progress = Callable[[int, int, str], None]
"""(steps done, steps in all, what is happening)."""


@dataclass
class EngineProcess:
    """An engine in a process of its own, started again whenever it dies."""

    settings: Settings
    popen: subprocess.Popen[bytes] | None = None
    starts: int = 0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self.log = self.settings.home / "engine.log"

    @property
    def pid(self) -> int | None:
        return None if self.popen is None or self.popen.poll() is not None else self.popen.pid

    def tend(self) -> None:
        """Start it where it does not run."""
        if self.pid is not None:
            return
        self.starts += 1
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "headrace.cli.main", "dev", "--no-reload"],
                cwd=self.settings.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        if self.popen is None or self.pid is None:
            return
        self.popen.terminate()
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def play(folder: Path, progress: Progress, *, speed: float | None = None, strikes: int = 0) -> Played:
    """Play the whole year into a fresh project at `folder`. `speed` is days per second at most."""
    settings = place.lay_out(folder, strikes=strikes)
    progress(0, 1, "reading the record of 2013")
    engine = EngineProcess(settings)
    engine.tend()
    record = load()
    store = open_store(settings)
    try:
        project = _deployed(store, engine)
        player = Player(store, project, record, doorbell_path(settings.home))
        total = len(player.steps)
        player.append_next()
        progress(1, total, "training the first model")
        _train_first(store, settings, engine)
        player.settle(engine.tend)
        chaos = Chaos(strikes, total)

        def tend() -> None:
            engine.tend()
            chaos.tend(engine)

        for number in range(player.done, total):
            day_s = time.monotonic()
            chaos.begin_step(number)
            until = player.append_next()
            try:
                player.settle(tend)
            finally:
                if number == total - 1:
                    chaos.end()
            progress(number + 1, total, f"{until:%B %d}")
            if speed:
                time.sleep(max(0.0, 1 / speed - (time.monotonic() - day_s)))
        chaos.end()
        player.settle(engine.tend)
    finally:
        engine.stop()
        store.close()
    return Played(settings, project, record, chaos.kills, chaos.pauses)


def main(arguments: Sequence[str]) -> int:
    """Play, tell, and leave the project behind. The last line of `--json` is the summary."""
    parser = argparse.ArgumentParser(prog="headrace demo")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--chaos", action="store_true")
    parser.add_argument("--speed", type=float)
    parser.add_argument("--keep", type=Path, default=Path("headrace-demo"))
    given = parser.parse_args(arguments)
    from headrace.demo.report import terminal, write_report
    from headrace.demo.telling import tell

    began_s = time.monotonic()
    console = Console(stderr=given.json)
    folder = given.keep.absolute()
    with place.replacing(folder), Live(console=console, speed=given.speed) as live:
        played = play(folder, live.show, speed=given.speed, strikes=STRIKES if given.chaos else 0)
        live.show(1, 1, "telling the story")
        summary, story = tell(played)
    seconds = time.monotonic() - began_s
    summary = msgspec.structs.replace(summary, seconds=round(seconds, 1))
    story = replace(story, seconds=seconds)
    write_report(story, folder / place.REPORT)
    console.print(terminal(story))
    command = "headrace" if shutil.which("headrace") else str(Path(sys.executable).with_name("headrace"))
    console.print(
        f"\nThe report: {given.keep / place.REPORT}\nLook around: cd {given.keep} && {command} runs ls",
        highlight=False,
        soft_wrap=True,
    )
    if given.json:
        sys.stdout.buffer.write(msgspec.json.encode(summary) + b"\n")
        sys.stdout.flush()
    return 0 if summary.duplicates == summary.lost == 0 and summary.trace_ok else 1


class Live:
    """Progress of the playback: a bar on a terminal, a line per month elsewhere."""

    def __init__(self, *, console: Console, speed: float | None) -> None:
        del speed
        self._console = console
        self._bar = RichProgress(
            TextColumn("{task.description:<26}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._said = ""

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def show(self, done: int, total: int, text: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=text)
        month = text.split()[0]
        if not self._console.is_terminal and month != self._said:
            self._said = month
            self._console.print(f"{done}/{total} {text}", highlight=False)


def _deployed(store: EngineSqlStore, engine: EngineProcess) -> Project:
    deadline_s = time.monotonic() + START_S
    while (row := project_rows.current_code(store.database)) is None:
        if time.monotonic() > deadline_s or engine.pid is None:
            raise EngineUnavailableError(
                f"the engine did not deploy the demo:\n{engine.log.read_text()[-2000:]}", cure=f"see {engine.log}"
            )
        time.sleep(0.01)
    return decode(row.project)


def _train_first(store: EngineSqlStore, settings: Settings, engine: EngineProcess) -> None:
    """Ask for the first training, as a person would with `headrace trigger retrain`, and wait for its end."""
    body = {"pipeline": "retrain", "by": "demo", "why": "the first model"}
    request = store.ask("trigger", body, key="demo:first", at_us=time.time_ns() // 1000)
    ring(doorbell_path(settings.home))
    while (answer := store.answer(request)) is None:
        engine.tend()
        time.sleep(0.01)
    if answer[0] != "done":
        raise EngineUnavailableError(f"the first training was refused: {answer[1]['message']}", code="HR5042")
    run = answer[1]["run"]
    while (row := run_rows.run(store.database, run)) is None or row.ended_us is None:
        engine.tend()
        time.sleep(0.01)
    if row.state != "succeeded":
        raise EngineUnavailableError(
            f"the first training {row.state}: {row.end_why}", cure=f"headrace logs {run}", code="HR5042"
        )
