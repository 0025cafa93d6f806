"""What only the syntax tree of a pipeline body shows: tests of identity and type, which nothing can intercept."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from headrace.definitions.project import Problem
from headrace.graph.task import Task

_BLIND = ("isinstance", "issubclass", "type", "id", "callable", "hasattr", "getattr")
_MAKERS = ("map", "when", "split", "register")  # of hr, of a task, of a model: their results are handles


def syntax_problems(fn: Callable[..., Any], name: str) -> Iterator[Problem]:
    """Findings in the body of the pipeline `name`: `is`, `isinstance`, `match` … on what only a run knows."""
    try:
        lines, first = inspect.getsourcelines(fn)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):  # typed at a prompt, or cut out of a larger expression: nothing to read
        return
    body = tree.body[0]
    if not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    reader = _Reader(fn, {arg.arg for arg in (*body.args.posonlyargs, *body.args.args, *body.args.kwonlyargs)})
    for statement in body.body:
        reader.visit(statement)
    for node, what in reader.found:
        yield Problem(
            code="HR1111",
            message=f"{what} in the body of {name} looks at a handle, not at the value that a run will know",
            where=f"{fn.__code__.co_filename}:{first + node.lineno - 1}",
            cure="put this into a task, or use hr.when or hr.map",
        )


class _Reader(ast.NodeVisitor):
    """Follows which names hold handles, from top to bottom, and notes what looks at them."""

    def __init__(self, fn: Callable[..., Any], params: set[str]) -> None:
        self.handles = set(params)
        self.found: list[tuple[ast.expr | ast.stmt, str]] = []
        self._globals: dict[str, Any] = getattr(fn, "__globals__", {})

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if node.value is not None:
            self._assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            if isinstance(operator, ast.Is | ast.IsNot) and (self._is_handle(left) or self._is_handle(right)):
                self.found.append((node, "`is`"))

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called = node.func.id if isinstance(node.func, ast.Name) else None
        if called in _BLIND and node.args and self._is_handle(node.args[0]):
            self.found.append((node, f"`{called}`"))

    def visit_Match(self, node: ast.Match) -> None:
        self.generic_visit(node)
        if self._is_handle(node.subject):
            self.found.append((node, "`match`"))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        names = {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
        if self._is_handle(value):
            self.handles |= names
        else:
            self.handles -= names

    def _is_handle(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name in self.handles
            case ast.NamedExpr(value=value):
                return self._is_handle(value)
            case ast.Call(func=ast.Attribute(attr="using")):
                return False
            case ast.Call(func=ast.Attribute(attr=attribute)) if attribute in _MAKERS:
                return True
            case ast.Call(func=func):
                return self._is_task(func)
            case _:
                return False

    def _is_task(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return isinstance(self._globals.get(name), Task)
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                owner = self._globals.get(module)
                return isinstance(getattr(owner, "__dict__", {}).get(attribute), Task)
            case ast.Call(func=ast.Attribute(value=owner, attr="using")):
                return self._is_task(owner)
            case _:
                return False
