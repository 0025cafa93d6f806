"""What a pipeline body records, and what it refuses, with the line and the cure."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

import headrace as hr
from headrace.definitions.nodes import Choice, Condition, Const, Element, Mapping, Node, Param, Ref, Scope, Sequence
from headrace.errors import GraphError
from headrace.graph.compile import Compiled, compile_pipeline, meaning


@hr.task
def load(country: str) -> list[int]:
    return [len(country)]


@hr.task
def double(n: int) -> int:
    return n * 2


@hr.task
def total(ns: Iterable[int]) -> int:
    return sum(ns)


@hr.task
def listed(ns: list[int]) -> int:
    return len(ns)


@hr.task
def pair(ns: list[int]) -> tuple[int, str]:
    return len(ns), ""


@hr.task
def ok(ns: object) -> bool:
    return bool(ns)


@hr.task
def anything(value: object) -> int:
    return 1


@hr.task
def first() -> None: ...


@hr.task
def second() -> None: ...


@hr.task
def third() -> None: ...


def compiled(body: object, **options: object) -> Compiled:
    return compile_pipeline(hr.pipeline(**options)(body))


def nodes(body: object) -> dict[str, Node]:
    return {node.name: node for node in compiled(body).definition.graph.nodes}


def test_a_task_called_outside_a_body_is_a_plain_call():
    assert double(4) == 8
    assert double.fn(4) == 8
    assert double.map([1, 2]) == [2, 4]


def test_calls_become_nodes_and_results_become_refs():
    def body(country: str = "dk") -> int:
        return listed(load(country))

    graph = compiled(body).definition.graph
    assert [node.name for node in graph.nodes] == ["load", "listed"]
    assert graph.nodes[0].inputs == {"country": Param("country")}
    assert graph.nodes[1].inputs == {"ns": Ref("load")}
    assert graph.result == Ref("listed")


def test_handles_inside_containers_keep_their_edges():
    def body():
        n = load("dk")
        anything([n, {"a": (n, 1)}, 3])

    assert nodes(body)["anything"].inputs["value"] == Sequence(
        (Ref("load"), Mapping({"a": Sequence((Ref("load"), Const(1)), is_tuple=True)}), Const(3))
    )


def test_a_tuple_result_is_unpacked_by_its_annotation():
    def body():
        n, text = pair(load("dk"))
        double(n)
        anything(text)

    found = nodes(body)
    assert found["double"].inputs == {"n": Ref("pair", 0)}
    assert found["anything"].inputs == {"value": Ref("pair", 1)}


def test_several_calls_of_one_task_are_named_by_their_constants_in_any_order():
    def one():
        load("dk")
        load("no")

    def other():
        load("no")
        load("dk")

    assert set(nodes(one)) == {"load[dk]", "load[no]"}
    assert compiled(one).definition.graph == compiled(other).definition.graph


def test_two_calls_that_nothing_tells_apart_are_refused_with_both_places():
    def body():
        n = load("dk")
        listed(n)
        listed(n)

    with pytest.raises(GraphError, match="two calls have the name 'listed'") as caught:
        compiled(body)
    assert "test_recording.py" in str(caught.value.where)
    assert "using(name=" in str(caught.value.cure)


def test_using_gives_a_name_and_options_here():
    def body():
        load.using(name="far", retries=2, rate="500/m", timeout="10m")("dk")

    node = nodes(body)["far"]
    assert (node.options.retries, node.options.rate, node.options.timeout_us) == (2, 500, 600_000_000)


def test_arrows_order_uncalled_tasks_and_chain_orders_calls():
    def body():
        first >> [second, third] >> double.using(name="last")  # type: ignore[operator]

    with pytest.raises(GraphError, match="last stands uncalled in an order and needs n"):
        compiled(body)

    def arrows():
        first >> [second, third]

    found = nodes(arrows)
    assert (found["second"].after, found["third"].after) == (("first",), ("first",))

    def calls():
        a = load("dk")
        hr.chain(a, [first(), second()], third())

    found = nodes(calls)
    assert found["first"].after == found["second"].after == ("load",)
    assert found["third"].after == ("first", "second")


def test_a_list_may_stand_first_and_a_task_is_one_node_in_every_arrow():
    def body():
        [first, second] >> third
        first >> second

    found = nodes(body)
    assert found["third"].after == ("first", "second")
    assert found["second"].after == ("first",)


def test_a_cycle_is_refused_and_shown():
    def body():
        first >> second >> third >> first

    with pytest.raises(GraphError, match=r"wait for each other: .*→"):
        compiled(body)


def test_a_map_is_a_scope_and_its_results_a_list():
    def body():
        total(double.map(load("dk")))

    graph = compiled(body).definition.graph
    by_name = {node.name: node for node in graph.nodes}
    assert graph.scopes == (Scope("double", Ref("load")),)
    assert by_name["double"].inputs == {"n": Element("double")}
    assert by_name["double"].scope == ("double",)
    assert by_name["total"].feed == {"ns": "iter"}


def test_a_list_parameter_is_fed_at_once():
    def body():
        listed(double.map([1, 2]))

    assert nodes(body)["listed"].feed == {}


def test_maps_nest():
    def body():
        hr.map(lambda c: hr.map(lambda n: double(n), load(c)), ["dk", "no"])

    graph = compiled(body).definition.graph
    assert graph.scopes == (Scope("load", Const(["dk", "no"])), Scope("double", Ref("load"), ("load",)))
    assert {node.name: node.scope for node in graph.nodes} == {"load": ("load",), "double": ("load", "double")}


def test_a_frame_maps_over_its_rows_outside_a_body():
    import polars as pl

    assert hr.map(lambda row: row["a"], pl.DataFrame({"a": [1, 2]})) == [1, 2]


def test_a_value_without_items_is_not_mapped():
    def body():
        double.map(double(1))  # type: ignore[arg-type]

    with pytest.raises(GraphError, match="no items"):
        compiled(body)


def test_when_records_both_branches_and_gives_the_one_that_ran():
    def body():
        n = load("dk")
        chosen = hr.when(ok(n), lambda: double(1), lambda: listed(n))
        anything(chosen)

    found = nodes(body)
    test = Ref("ok")
    assert found["double"].when == (Condition(test, True),)
    assert found["listed"].when == (Condition(test, False),)
    assert found["anything"].inputs == {"value": Choice(test, Ref("double"), Ref("listed"))}


def test_a_result_stays_inside_its_branch_and_its_map():
    def branch():
        kept = []
        hr.when(ok(1), lambda: kept.append(double(1)))
        anything(kept[0])

    def mapped():
        kept = []

        def item(n: int) -> int:
            kept.append(double(n))
            return kept[0]

        hr.map(item, [1])
        anything(kept[0])

    with pytest.raises(GraphError, match="outside its branch"):
        compiled(branch)
    with pytest.raises(GraphError, match="outside its map"):
        compiled(mapped)


def test_groups_are_shown_and_mean_nothing():
    def grouped():
        with hr.group("load"), hr.group("far"):
            load("dk")

    def plain():
        load("dk")

    assert nodes(grouped)["load"].group == "load.far"
    a, b = (compile_pipeline(hr.pipeline(name="x")(body)).definition for body in (grouped, plain))
    assert a != b
    import msgspec

    assert meaning(a) == meaning(msgspec.structs.replace(b, target=a.target, doc="other"))


def test_a_pipeline_in_a_body_is_inlined_under_its_name():
    @hr.pipeline
    def inner(country: str) -> list[int]:
        return load(country)

    def body():
        listed.using(name="dk")(inner("dk"))
        listed.using(name="no")(inner("no"))

    assert set(nodes(body)) == {"inner[dk].load", "inner[no].load", "dk", "no"}
    with pytest.raises(GraphError, match="its body is recorded, not run") as caught:
        inner("dk")
    assert "inner.run" in str(caught.value.cure)


@pytest.mark.parametrize(
    ("misuse", "line"),
    [
        (lambda raw: raw.height, "attribute `height`"),
        (lambda raw: bool(raw), "`if`, `and`, `or` or `not` needs"),
        (lambda raw: list(raw), "items"),
        (lambda raw: len(raw), "`len()` needs"),
        (lambda raw: raw[0], "`[]` needs"),
        (lambda raw: raw + 1, "`+` needs"),
        (lambda raw: 1 + raw, "`+` needs"),
        (lambda raw: raw == 1, "`==` needs"),
        (lambda raw: range(raw), "`range()` or an index needs"),
        (lambda raw: raw >> 1, "`>>` needs"),
        (lambda raw: raw < 1, "`<` needs"),
        (lambda raw: f"{raw}", "an f-string needs"),
        (lambda raw: f"{raw!r}", "`repr()` needs"),
        (lambda raw: {raw: 1}, "a key of a dict or set needs"),
        (lambda raw: raw >> first, "uncalled tasks"),
    ],
)
def test_every_other_use_of_a_handle_is_refused_at_its_line(misuse, line):
    def body():
        raw = load("dk")
        misuse(raw)

    with pytest.raises(GraphError, match=r"raw is the result of load|uncalled tasks") as caught:
        compiled(body)
    assert line in str(caught.value)
    assert str(caught.value.where).rpartition(":")[0] == __file__


def features(rows):
    return rows.height


def test_a_plain_function_on_a_handle_is_refused_with_the_line_that_calls_it():
    def body():
        raw = load("dk")
        features(raw)

    with pytest.raises(GraphError, match=r"rows is the result of load .*called at .*test_recording.py") as caught:
        compiled(body)
    assert str(caught.value.where) == f"{__file__}:{features.__code__.co_firstlineno + 1}"


def test_a_pipeline_that_calls_itself_is_refused():
    @hr.pipeline
    def loop() -> None:
        loop()

    with pytest.raises(GraphError, match="calls itself"):
        compile_pipeline(loop)


def test_runs_and_streams_are_not_started_in_a_body():
    @hr.pipeline
    def inner() -> None: ...

    @hr.stream(hr.Topic("t"), to=hr.Topic("o"))
    def score(batch): ...

    def runs():
        inner.run()

    def scores():
        score(1)

    for body in (runs, scores):
        with pytest.raises(GraphError, match="acts at once"):
            compiled(body)


def test_a_parameter_and_a_window_are_handles_too():
    def numbers(rounds: int = 3):
        if rounds > 2:
            first()

    def windows(window: hr.Window):
        anything(window.start)

    with pytest.raises(GraphError, match="rounds is a parameter of numbers"):
        compiled(numbers)
    with pytest.raises(GraphError, match="window is the window of windows") as caught:
        compiled(windows)
    assert "pass the window to a task" in str(caught.value.cure)


def test_arguments_are_checked_against_the_function():
    def missing():
        double()  # type: ignore[call-arg]

    def unknown():
        double(1, m=2)  # type: ignore[call-arg]

    for body in (missing, unknown):
        with pytest.raises(GraphError, match=r"double\(n\) cannot be called like this"):
            compiled(body)


@pytest.mark.parametrize("value", [object(), {1: 2}, float("nan"), {1, 2}, lambda: 1, hr.Secret("s"), hr.Table("t")])
def test_only_plain_values_can_be_constants(value):
    def body():
        anything(value)

    with pytest.raises(GraphError) as caught:
        compiled(body)
    assert caught.value.cure
    assert caught.value.code == "HR1105"


def test_references_are_arguments_in_a_body_and_errors_elsewhere():
    weather = hr.Table("weather")

    def body():
        anything(weather.latest())

    assert nodes(body)["anything"].inputs["value"].how == "latest"
    with pytest.raises(GraphError, match="is a reference, not the data") as caught:
        weather.latest().height  # noqa: B018
    assert "weather.read()" in str(caught.value.cure)
    with pytest.raises(GraphError, match="outside a pipeline body"):
        anything(weather.latest())


def test_reading_in_a_body_is_refused():
    weather = hr.Table("weather")

    def body():
        weather.read()

    with pytest.raises(GraphError, match="acts at once") as caught:
        compiled(body)
    assert "weather.latest()" in str(caught.value.cure)


def predict(model: object, rows: object) -> object:
    return rows


def test_writes_appends_and_registrations_are_nodes():
    orders, scores, delay = hr.Table("orders"), hr.Topic("scores"), hr.Model("delay", int)

    def body():
        fit, test = hr.split(load("dk"), last="14d")
        orders.write(fit)
        scores.append(test)
        anything(delay.register(double(1), fit=fit, test=test, predict=predict))
        double.using(name="published", to=orders)(2)

    done = compiled(body)
    found = {node.name: node for node in done.definition.graph.nodes}
    assert {name: (node.kind, node.target) for name, node in found.items() if node.kind != "task"} == {
        "write orders": ("write", "orders"),
        "append scores": ("append", "scores"),
        "register delay": ("register", "delay"),
    }
    assert {node.name for node in found.values() if node.options.retries} == {"register delay"}
    assert found["split"].target == "headrace.graph.builtin:split"
    assert found["published"].to == "orders"
    assert found["anything"].inputs == {"value": Ref("register delay")}
    assert done.definition.registers == "delay"
    assert done.helpers == {f"{__name__}:predict": predict}
    assert {dataset.name for dataset in done.datasets} == {"orders", "scores", "delay"}


def test_what_a_run_waits_for_is_read_from_the_functions():
    outcomes = hr.Topic("outcomes", event_time="known")
    departures, alerts = hr.Topic("departures"), hr.Topic("alerts")
    delay = hr.Model("delay", int, labels=outcomes, on="id", label="late")
    flights = departures.join(hr.Table("weather", known="known"), on="origin", as_of="announced")

    def joined(window: hr.Window) -> object:
        return delay.examples(flights, window)

    @hr.task
    def ingest(window: hr.Window) -> int:
        alerts.append([])
        return len([joined(window) for _ in range(2)])

    def body(window: hr.Window):
        ingest(window)

    assert compiled(body).definition.reads == ("departures", "outcomes", "weather")


def test_a_definition_is_the_same_in_every_recording():
    def body(window: hr.Window, rounds: int = 3, names: list[str] | None = None):
        double(rounds)

    a, b = (compiled(body, window="60d").definition for _ in range(2))
    assert meaning(a) == meaning(b)
    assert [(p.name, p.type, p.kind, p.required) for p in a.params] == [
        ("window", "json", "window", True),
        ("rounds", "int", "value", False),
        ("names", "list", "value", False),
    ]


def test_a_parameter_that_no_form_can_fill_is_refused():
    def body(table: hr.Table):
        anything(1)

    with pytest.raises(GraphError, match="parameter table of body"):
        compiled(body)


def test_an_async_task_called_plainly_runs_to_its_end():
    @hr.task
    async def fetch(n: int) -> int:
        return n + 1

    assert isinstance(fetch, hr.AsyncTask)
    assert fetch(1) == 2


@pytest.mark.parametrize(
    "options", [{"retrys": 3}, {"retries": -1}, {"rate": "5"}, {"trigger_rule": "most"}, {"to": 3}]
)
def test_options_are_checked_where_they_are_written(options):
    with pytest.raises(GraphError) as caught:
        hr.task(**options)(lambda_like)
    assert caught.value.cure


def lambda_like() -> None: ...
