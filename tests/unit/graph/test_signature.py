"""Stored values by parameter name become the call that the author wrote."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.graph.signature import bind, call_with


def plain(a: int, b: int = 2) -> Any:
    return a, b


def mixed(a: int, /, b: int = 2, *rest: int, c: int = 3, **more: int) -> Any:
    return a, b, rest, c, more


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (plain, (1,), {}),
        (plain, (1,), {"b": 5}),
        (mixed, (1,), {"c": 9}),
        (mixed, (1, 4, 5, 6), {"c": 9, "d": 10}),
    ],
)
def test_what_was_bound_is_called_the_same(fn: Any, args: tuple[int, ...], kwargs: dict[str, int]):
    again, named = call_with(fn, bind(fn, "fn", args, kwargs))
    assert fn(*again, **named) == fn(*args, **kwargs)


def test_a_default_before_variadic_values_keeps_its_place():
    assert call_with(mixed, {"a": 1, "rest": (7, 8)}) == ([1, 2, 7, 8], {})
