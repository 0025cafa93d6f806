"""A process's way to the store, with faults around the one write verb: before, after, unknown, and death."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from headrace.errors import StoreError
from headrace.ports import Append, Committed
from headrace.store.sql.engine_store import EngineSqlStore
from headrace.testing.simulator.draw import Draw
from headrace.testing.simulator.world import Crash, World


class FaultyStore:
    """Implements `ports.EngineStore` over the shared one. `is_hurt` says that a fault was put into this round.

    `supersede`, where given, lets another process take the log over between decision and commit.
    """

    def __init__(
        self, store: EngineSqlStore, world: World, drawn: Draw, *, supersede: Callable[[], None] | None = None
    ) -> None:
        self._store, self._world, self._drawn, self._supersede = store, world, drawn, supersede
        self.is_hurt = False

    def commit(self, appends: Sequence[Append]) -> Committed:
        self._before()
        committed = self._store.commit(appends)
        for append in appends:
            for fact in append.facts:
                self._world.say(f"{append.log} up to {committed.heads[append.log]}", fact)
        self._after()
        return committed

    def head(self, log: str) -> int:
        if self.is_hurt and self._world.strikes("store fails after", self._drawn.rate("store fails after")):
            raise StoreError("simulated: the head cannot be read", code="HR4080")
        return self._store.head(log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _strikes(self, fault: str) -> bool:
        struck = self._world.strikes(fault, self._drawn.rate(fault))
        self.is_hurt |= struck
        return struck

    def _before(self) -> None:
        if self._supersede is not None and self._strikes("superseded while committing"):
            self._supersede()
        if self._strikes("store fails before"):
            raise StoreError("simulated: the disk is full", code="HR4020")
        if self._strikes("engine dies before commit"):
            raise Crash

    def _after(self) -> None:
        if self._strikes("store fails after"):
            raise StoreError("simulated: the outcome is unknown", code="HR4080")
        if self._strikes("engine dies after commit"):
            raise Crash
