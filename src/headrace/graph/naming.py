"""Names of recorded calls: by what they are, never by their order in the body."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from headrace.errors import GraphError
from headrace.graph.draft import Draft, DraftScope, Inlined

C = TypeVar("C", bound="Draft | Inlined")


def node_names(drafts: Iterable[Draft]) -> dict[str, str]:
    """Token → name. A call that is the only one of its name has it; several are told apart by their constant arguments.

    So `load(dk)` and `load(no)` are "load[dk]" and "load[no]" wherever they stand. Raises `GraphError` where two calls
    would get one name.
    """
    listed = list(drafts)
    prefixes = _prefixes(listed)
    names: dict[str, str] = {}
    taken: dict[str, Draft] = {}
    for draft, name in _told_apart([(d, d.inlined) for d in listed]):
        full = f"{prefixes[draft.inlined]}{name}" if draft.inlined else name
        if full in taken:
            raise _twice(full, draft, taken[full])
        taken[full] = draft
        names[draft.token] = full
    return names


def scope_names(scopes: Iterable[DraftScope], drafts: Iterable[Draft], names: dict[str, str]) -> dict[str, str]:
    """Token → name of each map: that of the first call in it, or of the map in it with ".each"."""
    listed = list(scopes)
    found: dict[str, str] = {}
    for draft in drafts:
        if draft.scope:
            found.setdefault(draft.scope[-1], names[draft.token])
    for scope in reversed(listed):  # inner maps are noted after the ones around them
        if scope.parent and scope.token in found:
            found.setdefault(scope.parent[-1], f"{found[scope.token]}.each")
    return found


def _prefixes(drafts: Sequence[Draft]) -> dict[Inlined, str]:
    calls: dict[Inlined, None] = {}
    for draft in drafts:
        chain: list[Inlined] = []
        call = draft.inlined
        while call:
            chain.append(call)
            call = call.parent
        calls.update(dict.fromkeys(reversed(chain)))
    prefixes: dict[Inlined, str] = {}
    taken: dict[str, Inlined] = {}
    for call, name in _told_apart([(c, c.parent) for c in calls]):
        full = f"{prefixes[call.parent] if call.parent else ''}{name}."
        if full in taken:
            raise _twice(full.rstrip("."), call, taken[full])
        taken[full] = call
        prefixes[call] = full
    return prefixes


def _told_apart(calls: Sequence[tuple[C, Inlined | None]]) -> list[tuple[C, str]]:
    count: dict[tuple[Inlined | None, str], int] = {}
    for call, parent in calls:
        count[parent, call.base] = count.get((parent, call.base), 0) + 1
    return [(call, _name(call, alone=count[parent, call.base] == 1)) for call, parent in calls]


def _name(call: Draft | Inlined, *, alone: bool) -> str:
    return call.base if alone or not call.constants else f"{call.base}[{','.join(call.constants)}]"


def _twice(name: str, call: Draft | Inlined, other: Draft | Inlined) -> GraphError:
    if isinstance(call, Draft) and call.kind != "task":
        cure = "write once: join the rows in a task, or use another dataset"
    else:
        base = call.base.rpartition(".")[2]
        cure = f'name one of the calls: {base}.using(name="…")(…)'
    return GraphError(
        f"two calls have the name {name!r}; the other one is at {other.where}",
        where=call.where,
        cure=cure,
        code="HR1103",
    )
