"""Random pipeline bodies: one meaning, one hash; each is a sound graph, or an error with its line and its cure."""

from __future__ import annotations

import random

import msgspec
import pytest
from bodies import FILE, Body, bodies, pipeline_of
from depth import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from told import check_told

from headrace.definitions import project as definitions
from headrace.definitions.nodes import (
    AnyInput,
    Choice,
    Element,
    Graph,
    Mapping,
    Param,
    Ref,
    Sequence,
    canonical,
    digest,
)
from headrace.definitions.project import PipelineDef, Project
from headrace.errors import GraphError, HeadraceError
from headrace.graph.compile import compile_pipeline, meaning

CODES = ("HR1100", "HR1101", "HR1102", "HR1103", "HR1104", "HR1105", "HR1106", "HR1107")


def compiled(source: str) -> PipelineDef | None:
    """The definition, or None where it is refused, as it must be: coded, with the line in the file, and a cure."""
    try:
        return compile_pipeline(pipeline_of(source)).definition
    except HeadraceError as error:
        _check_place(error, source)
        return None


def _check_place(error: HeadraceError, source: str) -> None:
    check_told(error, *CODES)
    assert isinstance(error, GraphError)
    file, _, line = (error.where or "").rpartition(":")
    assert file == FILE, (error, source)
    assert 1 <= int(line) <= source.count("\n") + 1, (error, source)


def sound(graph: Graph) -> None:
    """Nodes stand behind what they need, and every name that is used exists where it is used."""
    scopes = {scope.name: (*scope.parent, scope.name) for scope in graph.scopes}
    assert len(scopes) == len(graph.scopes)
    known: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        for value in (*node.inputs.values(), *(condition.test for condition in node.when)):
            check(value, known, node.scope)
        assert set(node.after) <= known.keys()
        assert node.scope == (scopes[node.scope[-1]] if node.scope else ())
        assert node.name not in known
        assert set(node.feed) <= set(node.inputs)
        known[node.name] = node.scope
    for scope in graph.scopes:
        check(scope.over, known, scope.parent)
    if graph.result is not None:
        check(graph.result, known, ())


def check(value: AnyInput, known: dict[str, tuple[str, ...]], scope: tuple[str, ...]) -> None:
    match value:
        case Ref(node=node, item=item):
            assert node in known
            assert item in (None, 0, 1)
        case Element(scope=name):
            assert name in scope
        case Param(name=name):
            assert name in ("first", "many", "flag")
        case Sequence(items=items):
            for item in items:
                check(item, known, scope)
        case Mapping(items=named):
            for item in named.values():
                check(item, known, scope)
        case Choice(test=test, then=then, otherwise=otherwise):
            for item in (test, then, *(() if otherwise is None else (otherwise,))):
                check(item, known, scope)
        case _:
            pass


@examples(40)
@given(bodies(circles=True))
def test_a_body_is_a_sound_graph_or_an_error_with_its_line_and_cure(body: Body) -> None:
    definition = compiled(body.source())
    if definition is None:
        return
    sound(definition.graph)
    again = compiled(body.source())
    assert again == definition
    assert canonical(again) == canonical(definition)
    assert meaning(again) == meaning(definition)
    assert msgspec.json.decode(canonical(definition.graph), type=Graph) == definition.graph
    assert digest(msgspec.json.decode(canonical(definition.graph), type=Graph)) == digest(definition.graph)
    project = Project("p", {"flow": definition})
    assert definitions.decode(definitions.encode(project)) == project


@examples(20)
@given(bodies(), st.randoms(use_true_random=False))
def test_names_of_variables_and_the_order_of_lines_mean_nothing(body: Body, rng: random.Random) -> None:
    definition = compiled(body.source())
    assume(definition is not None)
    assert definition is not None
    other = compiled(body.source(lambda v: v if v in ("first", "many", "flag") else f"renamed_{v}", body.order(rng)))
    assert other is not None
    assert canonical(other.graph) == canonical(definition.graph)
    assert meaning(other) == meaning(definition)


@examples(20)
@given(bodies(), st.data())
def test_a_group_is_for_display_and_an_option_is_not(body: Body, data: st.DataObject) -> None:
    definition = compiled(body.source())
    assume(definition is not None)
    assert definition is not None
    line = data.draw(st.sampled_from(body.lines))
    line.group = "elsewhere"
    regrouped = compiled(body.source())
    assert regrouped is not None
    assert meaning(regrouped) == meaning(definition)
    able = [line for line in body.lines if "{options}" in line.text and "retries" not in line.options]
    assume(able)
    line = data.draw(st.sampled_from(able))
    line.options = ", ".join(filter(None, [line.options, "retries=9"]))
    if not line.text.split("{options}")[0].endswith("(") and not line.options.startswith(","):
        line.options = f", {line.options}"
    changed = compiled(body.source())
    assert changed is not None
    assert meaning(changed) != meaning(definition)


@examples(20)
@given(bodies(), st.data())
def test_an_edge_more_is_another_graph(body: Body, data: st.DataObject) -> None:
    definition = compiled(body.source())
    assume(definition is not None)
    assert definition is not None
    made = sorted(body.variables().keys() - {"first", "many", "flag"})
    assume(made)
    variable = data.draw(st.sampled_from(made))
    source = body.source()
    head, _, result = source.rpartition("\n")
    edge = data.draw(st.sampled_from((f'number.using(name="new")({variable})', f"hr.chain({variable}, step())")))
    extended = compiled(f"{head}\n    {edge}\n{result}")
    assert extended is not None
    assert meaning(extended) != meaning(definition)


MISTAKES = (
    "if {v}: pass", "{v} + 1", "for x in {v}: pass", "len({v})", "{v}.shape", "{v}[0]", "f'{{{v}}}'", "{v} == 1",
    "number(object())", "number({{1, 2}})", "number(lambda: 1)", "number(float('nan'))", "number(float('inf'))",
    "number({{1: 2}})", "number(b'x')", "number(1j)", "number('\\ud800')", "number(['\\ud800'])", "number({{'\\ud800': 1}})",
    "number(10 ** 5000)", "number([10 ** 5000, {v}])", "numbers(scale={v}, speed=1)", "step(1)",
    "number.using(speed=1)({v})", "number.using(retries=-1)({v})", "number.using(retries='1')({v})",
    "number.using(rate='fast')({v})", "number.using(rate='1'*5000 + '/m')({v})",
    "number.using(timeout='soon')({v})", "number.using(timeout=5)({v})", "number.using(timeout='9'*30 + 'd')({v})",
    "number.using(trigger_rule='never')({v})", "number.using(name='')({v})", "number.using(name=5)({v})",
    "number.using(name='\\ud800')({v})", "number.using(retries=10**30)({v})", "number.using(to=5)({v})",
    "number.map(5)", "number.map(None)", "hr.map(lambda x: x, [1])", "hr.map(5, [1])",
    "hr.map(lambda x: {v}, [1])", "hr.when(1, lambda: 1)", "hr.when({v}, 5)", "hr.when(ok({v}), lambda: object())",
    "{v} >> step", "step >> {v}", "step >> 5", "number >> step", "hr.chain({v}, {v})",
    "hr.chain(5, step())", "hr.chain(first, step())", "step >> step", "a = number({v}); b = number({v})",
    "a = number({v}); hr.chain(number.using(name='b')(a), a)", "with hr.group(5): step()", "inner({v}, 1)",
    "places.read()", "inner.run(value=1)", "k = []; hr.map(lambda x: k.append(number(x)) or k[0], [1]); number(k[0])",
    "keep = []; hr.when(flag, lambda: keep.append(number(1))); number(keep[0])",     "d = []; d.append(d); number(d)",
    "d = 1\n    for _ in range(5000): d = [d]\n    number(d)",
    "d = {v}\n    for _ in range(5000): d = [d]\n    number(d)",
)  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(mistake: str) -> None:
    begin = "def body(first: int, many: list, flag: bool = True):\n    v = number(1)"
    assert compiled(f"{begin}\n    {mistake.format(v='v')}\n    return v") is None


@examples(20)
@given(bodies(), st.sampled_from(MISTAKES), st.data())
def test_a_mistake_in_any_body_is_told_with_its_line(body: Body, mistake: str, data: st.DataObject) -> None:
    assume(compiled(body.source()) is not None)
    made = sorted(body.variables().keys() - {"first", "many", "flag"})
    assume(made or "{v}" not in mistake)
    head, _, result = body.source().rpartition("\n")
    wrong = mistake.format(v=data.draw(st.sampled_from(made)) if made else "")
    definition = compiled(f"{head}\n    {wrong}\n{result}")
    if definition is not None:  # where `v` is a list or a choice, not all of them are mistakes
        sound(definition.graph)
        assert msgspec.json.decode(canonical(definition.graph), type=Graph) == definition.graph
