"""A project's folder that was moved or copied: the engine serves it only when somebody says which."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from living import Living

from headrace.host.whereabouts import remembered

pytestmark = pytest.mark.process

CODE = """
events = hr.Topic("events", schema={"id": str}, partitions=1)

@hr.task
def look() -> None: ...

@hr.pipeline
def investigate() -> None:
    look()

@hr.pipeline
def by_hand() -> None:
    look()

investigate.on(hr.event(events))
"""


def at(project: Living, root: Path) -> Living:
    """The same project in another folder."""
    project.store.close()
    project._store = None
    project.root, project.home = root, root / ".headrace"
    project.database = project.home / "headrace.db"
    project.environment["LIVING"] = str(root)
    return project


def test_a_moved_project_goes_on_when_it_is_told_so(living: Callable[..., Living], tmp_path: Path) -> None:
    project = living(CODE)
    project.start()
    run = project.trigger("by_hand")
    assert project.ended(run) == "succeeded"
    assert project.stop() == 0
    shutil.move(project.root, tmp_path / "moved")
    old = project.root
    at(project, tmp_path / "moved")
    refused = project.command("dev", "--no-reload")
    assert refused.returncode == 4
    assert "HR3051 this project's state was made elsewhere" in refused.stderr
    assert f"the path was {old}/.headrace" in refused.stderr
    assert "headrace dev --moved" in refused.stderr
    assert project.command("dev", "--moved", "--copied").returncode == 2
    project.start("--moved")
    assert project.ended(project.trigger("by_hand")) == "succeeded"
    assert project.stop() == 0
    project.start()
    assert project.stop() == 0


def test_a_copy_has_an_identity_of_its_own_and_starts_nothing_by_itself(
    living: Callable[..., Living], tmp_path: Path
) -> None:
    project = living(CODE)
    project.start()
    assert project.stop() == 0
    first = remembered(project.home)
    shutil.copytree(project.root, tmp_path / "copy", ignore=shutil.ignore_patterns("engine.log"))
    at(project, tmp_path / "copy")
    assert project.command("dev", "--no-reload").returncode == 4
    project.start("--copied")
    project.until(lambda: "paused: investigate (headrace pipelines resume NAME)" in project.said(), "the notice")
    paused = "SELECT pipeline FROM paused WHERE is_paused"
    assert project.until(lambda: project.rows(paused), "the pause") == [("investigate",)]
    assert project.stop() == 0
    second = remembered(project.home)
    assert first is not None
    assert second is not None
    assert first.store != second.store
