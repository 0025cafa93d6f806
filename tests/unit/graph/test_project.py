"""Loading a project from a folder, and everything `check` finds in it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from headrace.definitions.project import Problem, decode, encode
from headrace.errors import ProjectError
from headrace.graph.check import check
from headrace.graph.loaded import Loaded
from headrace.graph.project import load_file, load_project

GOOD = """
    from __future__ import annotations
    import headrace as hr

    departures = hr.Topic("departures", schema={"id": str, "announced": "datetime", "late": bool}, key="id",
                          event_time="announced")
    scores = hr.Topic("scores")
    delay = hr.Model("delay", int)

    @hr.task
    def ingest(window: hr.Window) -> int:
        return departures.read(window).height

    @hr.pipeline(schedule="@daily")
    def nightly(window: hr.Window, rounds: int = 3) -> None:
        ingest(window)

    @hr.stream(departures, to=scores, bind={"model": delay.champion()})
    def score(batch, model: int):
        return batch
"""


@pytest.fixture(autouse=True)
def _own_imports():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("shop", "alone")):
            del sys.modules[name]


def project(root: Path, **modules: str) -> Loaded:
    package = root / "shop"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    for name, text in modules.items():
        (package / f"{name}.py").write_text(textwrap.dedent(text))
    return load_project(root, "shop")


def problems(root: Path, body: str, *, level: str = "error") -> list[Problem]:
    text = "import headrace as hr\n" + textwrap.dedent(body)
    return [found for found in check(project(root, pipes=text)) if found.level == level]


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, found
    assert found[0].cure
    return found[0]


def line(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])


def test_a_good_project_is_frozen_without_problems(tmp_path: Path):
    loaded = project(tmp_path, pipes=GOOD)
    assert check(loaded) == ()
    assert loaded.project.modules == ("shop", "shop.pipes")
    assert list(loaded.project.pipelines) == ["nightly"]
    assert loaded.project.pipelines["nightly"].reads == ("departures",)
    assert loaded.pipelines["nightly"].functions["ingest"].__name__ == "ingest"
    assert set(loaded.project.topics) == {"departures", "scores"}
    assert loaded.streams["score"].definition.bind["model"].arg == "champion"
    assert decode(encode(loaded.project)) == loaded.project


def test_the_package_may_lie_under_src(tmp_path: Path):
    project(tmp_path / "src", pipes=GOOD)
    assert "nightly" in load_project(tmp_path, "shop").pipelines


def test_a_trigger_may_stand_in_another_file_and_names_are_not_doubled_by_imports(tmp_path: Path):
    on = "import headrace as hr\nfrom shop.pipes import *\nnightly.on(hr.event(departures, where='late'))\n"
    found = project(tmp_path, pipes=GOOD.replace('@daily"', "@daily\", window='60d'"), zeta=on)
    assert check(found) == ()
    assert len(found.project.pipelines["nightly"].triggers) == 2


def test_a_module_that_does_not_import_is_a_problem_at_the_users_line_and_the_rest_is_loaded(tmp_path: Path):
    loaded = project(tmp_path, pipes=GOOD, broken="x = 1\ny = 1 / 0\n", syntax="def :\n")
    found = {Path(p.where.rpartition(":")[0]).name: p for p in loaded.problems}
    assert line(found["broken.py"]) == 2
    assert "ZeroDivisionError: division by zero" in found["broken.py"].message
    assert "SyntaxError" in found["syntax.py"].message
    assert "nightly" in loaded.pipelines


def test_a_name_that_shadows_a_package_is_found_before_anything_is_imported(tmp_path: Path):
    for name in ("statistics", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
        assert only(list(check(load_project(tmp_path, name)))).code == "HR1002"


def test_a_project_without_its_package_says_what_to_make(tmp_path: Path):
    with pytest.raises(ProjectError, match="no package or module 'shop'"):
        load_project(tmp_path, "shop")


def test_one_file_is_loaded_as_python_would_run_it(tmp_path: Path):
    (tmp_path / "alone.py").write_text(textwrap.dedent(GOOD))
    assert "nightly" in load_file(tmp_path / "alone.py").pipelines
    (tmp_path / "alone2.py").write_text("import nothing_like_it\n")
    with pytest.raises(ProjectError, match="nothing_like_it") as caught:
        load_file(tmp_path / "alone2.py")
    assert str(caught.value.where).endswith("alone2.py:1")


def test_each_broken_body_is_found_in_one_pass(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        @hr.task
        def a() -> None: ...
        @hr.task
        def b(n: int) -> None: ...
        @hr.pipeline
        def cycle():
            a >> a.using(name="z") >> a
        @hr.pipeline
        def unknown():
            b(m=1)
        @hr.pipeline
        def crash():
            raise ValueError("no")
        """,
    )
    assert [(p.code, line(p)) for p in found] == [("HR1104", 9), ("HR1102", 12), ("HR1001", 15)]


def test_what_python_cannot_intercept_is_read_from_the_syntax_tree(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        @hr.task
        def a(since: str | None) -> int: ...
        @hr.pipeline
        def retrain(since: str | None = None):
            if since is None:
                pass
            x = a(since)
            if isinstance(x, int):
                pass
            match a.using(name="other")(since):
                case _:
                    pass
            x = 3
            assert x is not None and isinstance(x, int)
        """,
    )
    assert [(p.code, line(p)) for p in found] == [("HR1111", 7), ("HR1111", 10), ("HR1111", 12)]


def test_two_things_of_one_name_are_refused(tmp_path: Path):
    found = problems(tmp_path, "a = hr.Topic('orders')\nb = hr.Table('orders')\n")
    assert (only(found).code, line(found[0])) == ("HR1003", 3)


def test_triggers_give_what_the_pipeline_needs(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        orders = hr.Table("orders")
        @hr.task
        def a(w) -> None: ...
        @hr.pipeline
        def windowed(w: hr.Window):
            a(w)
        windowed.on(hr.updated(orders))
        @hr.pipeline(schedule="@daily")
        def filled(country: str):
            a(country)
        """,
    )
    assert [p.code for p in found] == ["HR1108", "HR1108"]
    assert "needs a window" in found[0].message
    assert "cannot fill country" in found[1].message


def test_columns_that_no_schema_has_are_found_wherever_they_are_named(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        t = hr.Topic("t", schema={"id": str, "at": "datetime", "late": bool, "n": int}, key="idd", event_time="n")
        k = hr.Table("k", schema={"id": str, "seen": "datetime"}, known="sen")
        out = hr.Topic("out", schema={"p": float})
        m = hr.Model("m", int, labels=t, on="id", label="lat")
        @hr.stream(t.join(k, on="origin", as_of="n").join(t.running(by="id", sums=["x"]), on="id", as_of="at"), to=out)
        def s(batch): ...
        hr.monitor(out, model=m, window="7d", drift={"q": hr.psi(above=1)}, performance=hr.auc(prediction="p", below=1))
        w = hr.monitor(out, model=m, window="7d", drift={"q": hr.psi(above=1)})
        @hr.pipeline
        def p(): ...
        p.on(hr.event(t, where="n"))
        """,
    )
    assert all(p.code == "HR1201" for p in found)
    messages = "\n".join(f"{p.message} {p.cure}" for p in found)
    for part in (
        "no column 'idd' did you mean 'id'?",
        "'n' is int, not datetime",
        "no column 'sen'",
        "no column 'lat'",
        "no column 'origin'",
        "no column 'x'",
        "no column 'q'",
        "'n' is int, not bool",
    ):
        assert part in messages
    assert len(found) == 10


def test_bound_parameters_are_compared_by_name_and_class(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        t = hr.Topic("t")
        m = hr.Model("m", int)
        @hr.stream(t, to=hr.Topic("o"), bind={"modell": m.champion(), "other": m.champion()})
        def s(batch, model: int, other: str): ...
        """,
    )
    assert [p.message for p in found] == [
        "bind= names 'modell', which s does not take",
        "nothing fills 'model' of s",
        "other of s is str, and m is int",
    ]


def test_what_is_allowed_but_doubtful_is_a_warning(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        weather = hr.Table("weather")
        @hr.task
        def a(w, x) -> None: ...
        @hr.task
        def lonely() -> None: ...
        @hr.pipeline(schedule="@daily")
        def p(w: hr.Window):
            a(w, weather.latest())
        """,
        level="warning",
    )
    assert [(p.code, line(p)) for p in found] == [("HR1110", 6), ("HR1109", 10)]


REGISTERS = """
delay = hr.Model("delay", dict)
def predict(model, rows): ...
@hr.task
def fit() -> dict: ...
@hr.pipeline
def train():
    delay.register(fit(), fit=fit(), predict=predict)
"""


@pytest.mark.parametrize(
    ("body", "row", "said", "cure"),
    [
        (
            REGISTERS,
            9,
            "'test'",
            "call it as register(value, fit=…, test=…, predict=…); hr.split makes fit and test of one frame",
        ),
        ("hr.Topic('x', scheme={})", 2, "'scheme'", "call it as Topic(name, schema=…, key=…, event_time=…, known=…,"),
        ("hr.stream(hr.Topic('x'))", 2, "'to'", "call it as stream(source, to=…, name=…,"),
        ("hr.pipeline(scheduel='@daily')", 2, "'scheduel'", "call it as pipeline(fn=…, name=…, schedule=…,"),
    ],
)
def test_a_call_that_lacks_an_argument_says_how_it_is_written(
    tmp_path: Path, body: str, row: int, said: str, cure: str
):
    found = problems(tmp_path, body)
    assert (only(found).code, line(found[0])) == ("HR1102", row)
    assert said in found[0].message
    assert found[0].cure.startswith(cure)


def test_a_call_of_the_users_own_function_of_that_name_stays_what_python_says(tmp_path: Path):
    found = problems(tmp_path, "def stream(a): ...\nstream()\n")
    assert (only(found).code, found[0].cure) == ("HR1001", "mend what raises at this line")


def test_a_formatted_handle_is_one_mistake(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        @hr.task
        def a() -> int: ...
        @hr.pipeline
        def daily():
            x = a()
            print(f"{x} {x!r}")
        """,
    )
    assert only(found).code == "HR1106"


@pytest.mark.parametrize(("package", "extra"), [("lightgbm", "lightgbm"), ("sklearn", "sklearn"), ("skops", "sklearn")])
def test_an_import_that_an_extra_brings_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
):
    monkeypatch.setitem(sys.modules, package, None)
    found = problems(tmp_path, f"import {package}")
    assert only(found).cure == f'pip install "headrace[{extra}]"'


@pytest.mark.parametrize("constant", ["'a\\udcff'", "['\\udcff']", "{'\\udcff': 1}", "10**5000"])
def test_a_constant_that_json_cannot_hold_is_named(tmp_path: Path, constant: str):
    found = problems(
        tmp_path,
        f"""
        @hr.task
        def a(x: object) -> int: ...
        @hr.pipeline
        def daily():
            a({constant})
        """,
    )
    assert (only(found).code, line(found[0])) == ("HR1105", 7)
    assert "cannot be written into a graph" in found[0].message


def test_a_pipeline_that_takes_events_is_started_by_rows_and_by_nothing_else(tmp_path: Path):
    body = """
        flagged, revenue = hr.Topic("flagged"), hr.Table("revenue")
        @hr.task
        def look(events: hr.Events) -> int: ...
        @hr.pipeline(schedule="@daily")
        def timed(events: hr.Events):
            look(events)
        @hr.pipeline(triggers=[hr.event(flagged)])
        def good(events: hr.Events):
            look(events)
        timed.on(hr.updated(revenue))
        @hr.pipeline
        def alone(events: hr.Events):
            look(events)
        """
    refused = problems(tmp_path, body)
    assert {p.code for p in refused} == {"HR1108"}
    assert [p.message for p in refused] == [
        "timed cannot be started by this trigger: it takes hr.Events, which only the rows of a topic bring"
    ] * 2
    assert refused[0].cure == "take this trigger off; triggers=[hr.event(topic)] starts it for each row"
    warned = only([p for p in check(load_project(tmp_path, "shop")) if p.level == "warning"])
    assert warned.message == "nothing starts alone: it takes hr.Events, which only the rows of a topic bring"


def test_a_map_with_a_further_argument_shows_the_call_that_is_meant(tmp_path: Path):
    found = problems(
        tmp_path,
        """
        @hr.task
        def figures(store, broken) -> int: ...
        @hr.pipeline
        def daily(broken: bool = False):
            figures.map([1, 2], broken=broken)
        """,
    )
    assert (only(found).code, line(found[0])) == ("HR1102", 7)
    assert found[0].message == "figures.map takes the items and nothing else, got broken=… as well"
    assert found[0].cure == "write the call out: hr.map(lambda item: figures(item, broken=…), items)"


def test_an_option_that_is_nearly_one_names_it(tmp_path: Path):
    found = problems(tmp_path, "@hr.task(retires=1)\ndef a(): ...\n")
    assert only(found).message == "shop.pipes does not import: a task has no option 'retires' (did you mean 'retries'?)"


def test_a_schedule_that_is_none_says_how_one_is_written(tmp_path: Path):
    found = problems(tmp_path, "@hr.pipeline(schedule='evry 1m')\ndef a(): ...\n")
    assert (only(found).code, line(found[0])) == ("HR1102", 2)
    assert found[0].message == "shop.pipes does not import: 'evry 1m' is not a schedule: it has 2 fields, not five"
    assert found[0].cure.startswith('did you mean "every 1m"? write "every 10m", "minute hour day month weekday", e.g.')


@pytest.mark.parametrize("use", ["x.real", "x + 1", "1 if x else 2", "[y for y in x]"])
def test_a_result_that_is_used_as_if_it_were_known_has_one_code(tmp_path: Path, use: str):
    found = problems(
        tmp_path,
        f"""
        @hr.task
        def a() -> int: ...
        @hr.pipeline
        def daily():
            x = a()
            {use}
        """,
    )
    assert only(found).code == "HR1106"


PASSING = """
    import polars as pl
    from collections.abc import Iterable, Mapping
    from typing import Any

    @hr.task
    def text() -> str: ...
    @hr.task
    def number() -> int: ...
    @hr.task
    def frame() -> pl.DataFrame: ...
    @hr.task
    def numbers() -> list[int]: ...
    @hr.task
    def unsaid(): ...
    @hr.task
    def maybe() -> str | None: ...
    @hr.task
    def use(x: {wanted}) -> None: ...
    @hr.pipeline
    def p(n: int = 1, name: str = "", ratio: float = 0.5, deep: dict[str, int] = {{}}) -> None:
        {call}
"""


def passed(root: Path, wanted: str, call: str) -> list[Problem]:
    found = problems(root, PASSING.format(wanted=wanted, call=call), level="warning")
    return [problem for problem in found if problem.code == "HR1112"]


@pytest.mark.parametrize(
    ("wanted", "call", "told"),
    [
        ("int", "use(text())", "x of use is annotated as int, and the result of text is str"),
        ("int", 'use("text")', "x of use is annotated as int, and 'text' is str"),
        ("int", "use(ratio)", "x of use is annotated as int, and the parameter ratio is float"),
        ("str", "use(numbers())", "x of use is annotated as str, and the result of numbers is list"),
        ("pl.DataFrame", "use(number())", "x of use is annotated as DataFrame, and the result of number is int"),
        ("list[str]", "use(frame())", "x of use is annotated as list, and the result of frame is DataFrame"),
    ],
)
def test_a_value_of_another_kind_is_told_at_the_call(tmp_path: Path, wanted: str, call: str, told: str) -> None:
    (found,) = passed(tmp_path, wanted, call)
    assert found.message == told
    text = Path(found.where.rpartition(":")[0]).read_text().splitlines()
    assert text[line(found) - 1].strip() == call


@pytest.mark.parametrize(
    ("wanted", "call"),
    [
        ("float", "use(number())"),
        ("float", "use(True)"),
        ("int", "use(unsaid())"),
        ("int", "use(maybe())"),
        ("int | str", "use(text())"),
        ("Any", "use(text())"),
        ("object", "use(frame())"),
        ("Mapping", "use(deep)"),
        ("list", "use(numbers())"),
        ("int", "hr.map(use, numbers())"),
        ("Iterable[int]", "use(hr.map(lambda n: number(), numbers()))"),
        ("list[int]", "use(hr.map(lambda n: number(), numbers()))"),
        ("int", "use(hr.when(text(), lambda: number()))"),
        ("int", "use(None)"),
        ("SomewhereElse", "use(text())"),
    ],
)
def test_what_may_fit_is_not_told(tmp_path: Path, wanted: str, call: str) -> None:
    assert passed(tmp_path, f'"{wanted}"' if wanted == "SomewhereElse" else wanted, call) == []


def test_a_name_given_twice_is_cured_in_the_words_of_its_kind(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, 'one = hr.Table("x")\ntwo = hr.Topic("x")\n')
    assert found.code == "HR1003"
    assert found.message.startswith("the name 'x' is given twice: to Table('x') at ")
    assert 'give one of them another, hr.Topic("…")' in (found.cure or "")
