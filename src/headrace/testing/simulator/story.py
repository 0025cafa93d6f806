"""A schedule told in plain words: what there was, what happened, which fault struck at which step, and what broke."""

from __future__ import annotations

from typing import Any

from headrace.base.facts import Fact
from headrace.definitions.nodes import Node
from headrace.definitions.project import Project
from headrace.runs import facts as f
from headrace.streams.facts import BatchCommitted
from headrace.testing.simulator.projects import draw_projects
from headrace.testing.simulator.simulation import Result
from headrace.testing.simulator.world import SECOND

LINES_MOST = 200


def tell(result: Result, *, most: int = LINES_MOST) -> str:
    """The end of the story where it is longer than `most` lines."""
    recipe, world = result.recipe, result.world
    runs = {name: f"run {n + 1}" for n, name in enumerate(_runs(result))}
    lines = [
        f"{at / SECOND:9.3f} s  {text if fact is None else _words(text, fact, runs)}" for at, text, fact in world.told
    ]
    cut = len(lines) - most
    return "\n".join(
        [
            f"seed {recipe.seed}: {result.faults} faults, {result.runs} runs, {world.events} messages",
            f"  {recipe.draw}",
            "",
            *_graphs(draw_projects(recipe.seed, recipe.draw, recipe.most_nodes)["c1"]),
            "",
            *([f"({cut} lines before)"] if cut > 0 else []),
            *lines[max(cut, 0) :],
            "",
            *(
                f"BROKEN  {violation.number}: {violation.promise}\n        {violation.found}"
                for violation in result.violations
            ),
            *(["every promise was kept"] if not result.violations else []),
        ]
    )


def _runs(result: Result) -> list[str]:
    return [fact.run for _, _, fact in result.world.told if isinstance(fact, f.RunCreated)]


def _graphs(project: Project) -> list[str]:
    return [
        f"pipeline {pipeline.name}: {', '.join(_node(node) for node in pipeline.graph.nodes) or 'no task'}"
        for pipeline in project.pipelines.values()
    ]


def _node(node: Node) -> str:
    needs = [*(str(value) for value in node.inputs.values()), *(f"after {name}" for name in node.after)]
    scope = f" in the map {'.'.join(node.scope)}" if node.scope else ""
    rule = "" if node.options.trigger_rule == "all_success" else f" when {node.options.trigger_rule}"
    return f"{node.name}{scope}{rule}" + (f" ({'; '.join(needs)})" if needs else "")


def _words(where: str, fact: Fact, runs: dict[str, str]) -> str:
    about: Any = fact
    run = runs.get(getattr(fact, "run", ""), getattr(fact, "run", ""))
    match fact:
        case f.LogTaken():
            return f"{where}: {fact.owner} takes the log, epoch {fact.epoch}"
        case f.RunCreated():
            waits = f", waits for {', '.join(fact.waits)}" if fact.waits else ""
            return f"{where}: {run} of {fact.pipeline} is created ({fact.cause}, key {fact.key}){waits}"
        case f.AttemptStarted():
            return f"{where}: {run} {_item(about)} attempt {fact.attempt}, epoch {fact.epoch} starts on {fact.worker}"
        case f.AttemptSucceeded():
            return f"{where}: {run} {_item(about)} attempt {fact.attempt} has succeeded"
        case f.AttemptFailed():
            again = "" if fact.retry_at_us is None else ", and goes again"
            return f"{where}: {run} {_item(about)} attempt {fact.attempt} has failed: {fact.error}{again}"
        case f.AttemptLost():
            return f"{where}: {run} {_item(about)} attempt {fact.attempt} is lost: {fact.why}"
        case f.AttemptReturned() | f.AttemptCancelled():
            return f"{where}: {run} {_item(about)} attempt {fact.attempt}: {fact.kind}"
        case f.RunEnded():
            return f"{where}: {run} has ended {fact.state} {fact.why}"
        case f.MapExpanded():
            return f"{where}: {run} map {fact.scope} at {fact.path or 'the top'} has {fact.n} items"
        case BatchCommitted():
            rows = f"{fact.rows_out} out, {fact.filtered} filtered, {fact.dead} dead"
            return f"{where}: batch {fact.n}, offsets {fact.first} to {fact.end}: {rows}"
        case _:
            named = {name: getattr(fact, name) for name in fact.__struct_fields__ if name not in ("at_us", "run")}
            text = ", ".join(f"{name} {value}" for name, value in named.items() if "Raw object" not in repr(value))
            return f"{where}: {fact.kind} {run} {text}"[:240]


def _item(fact: Any) -> str:
    path = [*(fact.path.split(".") if fact.path else []), str(fact.item)]
    return f"{fact.node}[{'.'.join(path)}]"
