"""Random pipeline bodies as source text: statements that know what they need, so that they can be renamed and moved."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import headrace as hr
from headrace.graph.pipeline import Pipeline

FILE = "/project/flow.py"  # nothing is read from it; errors name their line in it


@hr.task
def number(*values: object) -> int:
    return len(values)


@hr.task
def numbers(*values: object, scale: float = 1.0) -> list[int]:
    return [len(values)]


@hr.task
def lists(*values: object) -> list[list[int]]:
    return [[len(values)]]


@hr.task
def ok(*values: object) -> bool:
    return bool(values)


@hr.task
def pair(*values: object) -> tuple[int, list[int]]:
    return len(values), [1]


@hr.task
def step() -> None: ...


@hr.pipeline
def inner(value: int) -> int:
    return number.using(name="last")(numbers(value))


places = hr.Table("places")
notes = hr.Topic("notes", schema={"n": int})
TASKS = {"number": "one", "numbers": "many", "lists": "lists", "ok": "bool", "pair": "pair"}
WORLD: dict[str, Any] = {
    "hr": hr, "number": number, "numbers": numbers, "lists": lists, "ok": ok, "pair": pair, "step": step,
    "inner": inner, "places": places, "notes": notes,
}  # fmt: skip

OPTIONS = st.sampled_from(
    (
        "retries=2", "retries=3", 'backoff="10s"', 'backoff_max="1h"', 'timeout="10m"', "max_lost=0", "concurrency=2",
        'trigger_rule="all_done"', 'trigger_rule="one_success"', 'rate="5/m"', 'rate="5/s"', "allow_failed=1", "to=places",
    )
)  # fmt: skip
CONSTANTS = st.one_of(
    st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text("ab\u00e9", max_size=2), st.integers() | st.lists(st.floats(0, 1)), max_size=3),
    st.tuples(st.integers(), st.text("xy", max_size=2)),
).map(repr)  # fmt: skip


@dataclass
class Line:
    """One statement. `{a}` stands for a variable, `$n` for the name of a call."""

    text: str
    makes: dict[str, str] = field(default_factory=dict[str, str])  # variable → what it is
    needs: set[str] = field(default_factory=set[str])
    options: str = ""
    group: str | None = None
    nodes: int = 1


@dataclass
class Body:
    """A body before its variables have names."""

    lines: list[Line]
    result: str

    def source(self, name_of: Callable[[str], str] = lambda variable: variable, order: list[int] | None = None) -> str:
        text = ["def body(first: int, many: list, flag: bool = True):"]
        for at in order or range(len(self.lines)):
            line = self.lines[at]
            renamed = line.text.format(**{v: name_of(v) for v in {*line.needs, *line.makes}}, options=line.options)
            text.append(f"    with hr.group({line.group!r}): {renamed}" if line.group else f"    {renamed}")
        return "\n".join([*text, f"    return {self.result.format(**{v: name_of(v) for v in self.variables()})}"])

    def variables(self) -> dict[str, str]:
        return {"first": "one", "many": "many", "flag": "bool"} | {
            v: kind for line in self.lines for v, kind in line.makes.items()
        }

    def order(self, rng: random.Random) -> list[int]:
        """The lines in another order in which each still finds what it needs."""
        known = {"first", "many", "flag"}
        left, done = list(range(len(self.lines))), list[int]()
        while left:
            at = rng.choice([at for at in left if self.lines[at].needs <= known])
            left.remove(at)
            done.append(at)
            known |= self.lines[at].makes.keys()
        return done


def pipeline_of(source: str) -> Pipeline[..., Any]:
    """The pipeline that a user with this text in a file has."""
    scope = dict(WORLD)
    exec(compile(source, FILE, "exec"), scope)
    return hr.pipeline(name="flow")(scope["body"])


@st.composite
def bodies(draw: st.DrawFn, *, circles: bool = False) -> Body:
    body = Body([], "None")
    count = itertools.count()
    for _ in range(draw(st.integers(1, 7))):
        body.lines.append(draw(lines(body, count)))
    for _ in range(draw(st.integers(0, 2))):
        handles = [v for v in body.variables() if v not in ("first", "many", "flag")]
        if len(handles) > 1:
            before, then = draw(st.permutations(handles))[:2]
            if not circles and handles.index(before) > handles.index(then):
                before, then = then, before
            body.lines.append(Line(f"hr.chain({{{before}}}, {{{then}}})", {}, {before, then}, nodes=0))
    some = draw(st.lists(st.sampled_from(list(body.variables())), min_size=1, max_size=2, unique=True))
    body.result = ", ".join(f"{{{v}}}" for v in some)
    return body


@st.composite
def lines(draw: st.DrawFn, body: Body, count: Any) -> Line:
    known = body.variables()
    of = {kind: [v for v, k in known.items() if k == kind] for kind in ("one", "many", "lists", "bool", "pair")}
    needs: set[str] = set()

    def use(kind: str | None = None) -> str:
        found = draw(st.sampled_from(of[kind] if kind and of[kind] else list(known)))
        needs.add(found)
        return f"{{{found}}}"

    def argument() -> str:
        match draw(st.sampled_from(("value", "value", "constant", "list", "dict"))):
            case "value":
                return use()
            case "constant":
                return draw(CONSTANTS).replace("{", "{{").replace("}", "}}")
            case "list":
                return f"[{use()}, 1, ({use()},)]"
            case _:
                return f"{{{{'a': {use()}, 'b': [2]}}}}"

    def call(task: str, *more: str) -> str:
        arguments = ", ".join([*more, *(argument() for _ in range(draw(st.integers(0, 2))))])
        return f'{task}.using(name="c{next(count)}"{{options}})({arguments})'

    made = f"v{next(count)}"
    group = draw(st.none() | st.none() | st.sampled_from(("left", "right")))
    options = draw(st.just("") | OPTIONS.map(", {}".format))
    match draw(
        st.sampled_from(("call", "call", "call", "pair", "map", "bodied", "nested", "when", "arrows", "act", "inline"))
    ):
        case "call":
            task = draw(st.sampled_from(list(TASKS)))
            return Line(f"{{{made}}} = {call(task)}", {made: TASKS[task]}, needs, options, group)
        case "pair":
            return Line(
                f"{{{made}}}, {{{made}b}} = {call('pair')}", {made: "one", f"{made}b": "many"}, needs, options, group
            )
        case "map":
            text = f'{{{made}}} = number.using(name="c{next(count)}"{{options}}).map({use("many")})'
            return Line(text, {made: "many"}, needs, options, group)
        case "bodied":
            text = f"{{{made}}} = hr.map(lambda item: {call('number', 'item', call('numbers', 'item'))}, {use('many')})"
            return Line(text, {made: "many"}, needs, options, group, 2)
        case "nested":
            deep = f"hr.map(lambda cell: {call('number', 'cell', 'row')}, {call('numbers', 'row')})"
            return Line(
                f"{{{made}}} = hr.map(lambda row: {deep}, {use('lists')})", {made: "lists"}, needs, options, group, 2
            )
        case "when":
            other = draw(st.sampled_from(("", f", lambda: {call('number')}")))
            text = f"{{{made}}} = hr.when({use('bool')}, lambda: {call('number')}{other})"
            if not of["bool"]:  # a value that is no test
                text = f"{{{made}}} = {call('ok')}"
            return Line(text, {made: "one"}, needs, options, group, 1)
        case "arrows":
            first, second, third = (f'step.using(name="c{next(count)}")' for _ in range(3))
            return Line(
                f"{first} >> [{second}, {third}.using({{options}})]", {}, needs, options.removeprefix(", "), group, 3
            )
        case "act":
            text = f"places.write({use()})" if draw(st.booleans()) else f"notes.append({use()})"
            return Line(text, {}, needs, "", group)
        case _:
            return Line(f"{{{made}}} = inner({use('one')})", {made: "one"}, needs, "", group, 2)
