"""A run that goes again keeps what its tasks were given, whatever else has come about meanwhile."""

from __future__ import annotations

import json

from conftest import Make

CODE = """
day = hr.Table("day", by="window", schema={"run": str, "task": str})

@hr.task
def items() -> list[int]:
    return [0, 1, 2, 3]

@hr.task
def half(n: int) -> int:
    if n == 1 and not (HERE / "good").exists():
        raise ValueError("not yet")
    return n * 10

@hr.task
def again(n: int) -> int:
    if n == 20 and not (HERE / "good").exists():
        raise ValueError("not yet")
    return n

@hr.task
def total(values: list[int]) -> list[int]:
    return values

@hr.pipeline
def forgiving() -> list[int]:
    return total(again.map(half.using(allow_failed=1).map(items())))

@hr.pipeline
def strict() -> list[int]:
    return total(hr.map(lambda n: again(half(n)), items()))

@hr.task
def first(window: hr.Window) -> int:
    day.write(pl.DataFrame({"run": [hr.current().run], "task": ["first"]}))
    return 1

@hr.task
def second(before: int, window: hr.Window) -> int:
    if not (HERE / "good").exists():
        raise ValueError("the source is down")
    day.write(pl.DataFrame({"run": [hr.current().run], "task": ["second"]}))
    return 1

@hr.pipeline
def daily(window: hr.Window) -> None:
    second(first(window), window)
"""


def test_a_retry_gives_each_item_of_a_map_the_value_that_it_had(living: Make) -> None:
    project = living(CODE)
    project.start()
    run, strict = project.trigger("forgiving"), project.trigger("strict")
    assert (project.ended(run), project.ended(strict)) == ("failed", "failed")
    assert project.rows("SELECT 1 FROM cells WHERE run = ? AND node = 'total' AND succeeded", strict) == []
    project.open("good")
    for number, name in enumerate((run, strict)):
        project.answer(project.ask("retry", f"retry {number}", run=name))
    results = "SELECT result FROM items WHERE run = ? AND node = 'total' AND state = 'succeeded'"
    project.until(lambda: project.rows(results, run) and project.rows(results, strict), "both")
    assert [json.loads(json.loads(x)[1]) for ((x,),) in (project.rows(results, r) for r in (run, strict))] == [
        [0, 20, 30],  # what was forgiven stays away
        [0, 10, 20, 30],  # what was not is waited for
    ]
    assert project.ended(run) == project.ended(strict) == "succeeded"
    half = "SELECT item, state, attempt FROM items WHERE run = ? AND node = 'half' AND item = 1"
    assert project.rows(half, run) + project.rows(half, strict) == [(1, "failed", 1), (1, "succeeded", 2)]


def test_a_retry_leaves_a_window_whole_that_another_run_has_written(living: Make) -> None:
    project = living(CODE)
    project.start()

    def asked(key: str) -> str:
        found = project.answer(project.ask("trigger", key, pipeline="daily", params={}, window=[0, 86_400_000_000]))
        return str(found["run"])

    before = asked("1")
    assert project.ended(before) == "failed"
    project.open("good")
    after = asked("2")
    assert project.ended(after) == "succeeded"
    project.answer(project.ask("retry", "3", run=before))
    project.until(lambda: project.rows("SELECT 1 FROM runs WHERE run = ? AND generation = 2", before), "retry")
    assert project.ended(before) == "failed"
    assert "HR3046" in project.error_of(before)[0]
    parts = "SELECT parts FROM table_versions WHERE name = 'day' ORDER BY version DESC LIMIT 1"
    ((last,),) = project.rows(parts)
    assert [part[5] for part in json.loads(last)] == [after, after]
