"""Parameters as they are typed, and as a caller gives them: what does not fit is refused, never changed."""

from __future__ import annotations

import math
from typing import Any

import pytest

import headrace as hr
from headrace.cli.params import typed
from headrace.definitions.nodes import Graph
from headrace.definitions.project import ParamDef, PipelineDef
from headrace.errors import RunFailedError, SettingsError
from headrace.graph.compile import parameters

FIT = PipelineDef(
    "fit",
    "m:fit",
    Graph(()),
    (
        ParamDef("rate", "float"),
        ParamDef("sizes", "list", default=[1]),
        ParamDef("names", "dict", default={}),
        ParamDef("maybe", "list"),
        ParamDef("any", "json"),
    ),
)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400"])
def test_a_float_that_json_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="rate is a finite number, got"):
        typed(FIT, {"rate": text})


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("sizes", "3", "a list"),
        ("sizes", '"abc"', "a list"),
        ("sizes", "null", "a list"),
        ("sizes", '{"a": 1}', "a list"),
        ("names", "[1]", "a dict"),
        ("names", "abc", "JSON"),
    ],
)
def test_a_list_and_a_dict_are_what_they_are_called(name: str, text: str, wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {wanted}, got"):
        typed(FIT, {name: text})


def test_what_fits_comes_as_it_was_typed() -> None:
    texts = {"rate": "1e3", "sizes": "[]", "names": '{"a": null}', "maybe": "null", "any": "3"}
    assert typed(FIT, texts) == {"rate": 1000.0, "sizes": [], "names": {"a": None}, "maybe": None, "any": 3}


@hr.task
def shown(x: object) -> str:
    return repr(x)


@hr.pipeline
def show(rate: float = 1.0, sizes: list[float] = [], names: dict[str, int] | None = None) -> str:  # noqa: B006
    return shown([rate, sizes, names])


def test_a_run_in_process_refuses_the_same() -> None:
    bad: list[dict[str, Any]] = [{"rate": math.nan}, {"sizes": [math.inf]}, {"sizes": 3}, {"names": [1]}]
    for arguments in bad:
        with pytest.raises(RunFailedError, match="did not start: HR3023"):
            show.run(**arguments)
    assert show.run(rate=2.5, sizes=[1.0], names=None).result() == "[2.5, [1.0], None]"


def test_a_definition_tells_lists_from_dicts() -> None:
    assert [param.type for param in parameters(show)] == ["float", "list", "dict"]
