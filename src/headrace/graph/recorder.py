"""The recorder of one pipeline body: it notes calls, maps, branches and order while the body runs once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from headrace.data import recording
from headrace.data.where import user_line
from headrace.definitions.nodes import BUILT_IN, AnyInput, Choice, Condition, Const, Element, Options, Ref, refs
from headrace.errors import GraphError
from headrace.graph.annotations import is_scalar, is_streamed, item_of
from headrace.graph.draft import Draft, DraftScope, Inlined
from headrace.graph.handle import Handle
from headrace.graph.inputs import frozen_input, shown

if TYPE_CHECKING:
    from headrace.data.recording import Dataset
    from headrace.data.table import Table

_ITEMLESS = (bool, int, float, str, type(None))


class Recorder:
    """Collects the drafts of one body. One per recording; `active()` gives the one in force here."""

    def __init__(self, pipeline: str, body: Callable[..., Any]) -> None:
        self.pipeline = pipeline
        self.body = body
        self.drafts: dict[str, Draft] = {}
        self.scopes: dict[str, DraftScope] = {}
        self.datasets: dict[tuple[str, str], Dataset] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.tasks: list[object] = []
        self._uncalled: dict[int, str] = {}
        self._scope: tuple[str, ...] = ()
        self._when: tuple[Condition, ...] = ()
        self._group: str | None = None
        self._inlined: Inlined | None = None

    def call(
        self,
        base: str,
        target: str,
        arguments: dict[str, object],
        *,
        kind: str = "task",
        function: Callable[..., Any] | None = None,
        annotations: dict[str, Any] | None = None,
        options: Options | None = None,
        to: Table | None = None,
    ) -> Handle:
        """Note one call, and give the handle of its result. `base` is its name, if the body makes one call of it."""
        inputs = {name: frozen_input(value, self) for name, value in arguments.items()}
        known = annotations or {}
        draft = Draft(
            token=f"#{len(self.drafts)}",
            base=base,
            constants=tuple(text for text in map(shown, inputs.values()) if text is not None),
            inlined=self._inlined,
            kind=kind,
            target=target,
            inputs=inputs,
            scope=self._scope,
            when=self._when,
            where=user_line(),
            group=self._group,
            feed={
                name: "iter"
                for name, value in arguments.items()
                if isinstance(value, Handle) and value.mapped and is_streamed(known.get(name))
            },
            to=to.name if to else None,
            options=options or Options(),
            function=function,
        )
        if to:
            self.note_dataset(to)
        self.drafts[draft.token] = draft
        return self._handle(Ref(draft.token), f"the result of {base}", known.get("return"))

    def act(self, kind: str, dataset: Dataset, inputs: dict[str, object]) -> Any:
        """Note `orders.write(df)`, `scores.append(df)` or `delay.register(…)` as a node."""
        self.note_dataset(dataset)
        options = BUILT_IN if kind == "register" else None
        return self.call(f"{kind} {dataset.name}", dataset.name, inputs, kind=kind, options=options)

    def map(self, body: Callable[[Any], Any], items: object) -> Handle:
        """Note a map: run `body` once on the handle of an item. Its result must be the result of a task in it."""
        annotation = items.annotation if isinstance(items, Handle) else None
        over = frozen_input(items, self)
        if is_scalar(annotation) or (isinstance(over, Const) and isinstance(over.value, _ITEMLESS)):
            raise _map_refused(
                "this value has no items to map over", "map over a list, an iterable, or a frame (its rows)"
            )
        if not callable(body):  # pyright: ignore[reportUnnecessaryComparison]
            raise _map_refused(
                f"hr.map runs a function for each item, got {body!r}", "hr.map(lambda item: score(item), items)"
            )
        scope = DraftScope(f"@{len(self.scopes)}", over, self._scope, user_line())
        self.scopes[scope.token] = scope
        with self._within(scope=(*self._scope, scope.token)):
            result = body(self._handle(Element(scope.token), "the current item of the map", item_of(annotation)))
        match result:
            case Handle(source=Ref(node=node, item=None)) if scope.token in self.drafts[node].scope:
                return self._handle(
                    result.source,
                    f"the list of results of {self.drafts[node].base}",
                    list[result.annotation or Any],
                    mapped=True,
                )
            case _:
                raise _map_refused(
                    "the body of a map returns the result of a task that it calls",
                    "let one task make what the map is to return, also from a choice or from several values",
                )

    def when(self, ok: object, then: Callable[[], Any], otherwise: Callable[[], Any] | None) -> Handle:
        """Note both branches; the handle is the value of the one that ran."""
        if not isinstance(ok, Handle) or (ok.annotation not in (None, bool) and isinstance(ok.annotation, type)):
            raise GraphError(
                "hr.when tests the bool result of a task, a bool parameter or a bool constant",
                where=user_line(),
                cure="put the comparison into a task with -> bool",
                code="HR1106",
            )
        if not callable(then) or not (otherwise is None or callable(otherwise)):  # pyright: ignore[reportUnnecessaryComparison]
            raise GraphError(
                "the branches of hr.when are functions",
                where=user_line(),
                cure="hr.when(ok, lambda: one(x), lambda: other(x))",
                code="HR1107",
            )
        test = self.use(ok)
        with self._within(when=(*self._when, Condition(test, True))):
            chosen = then()
            value = frozen_input(chosen, self)
        other: AnyInput | None = None
        if otherwise is not None:
            with self._within(when=(*self._when, Condition(test, False))):
                other = frozen_input(otherwise(), self)
        annotation = chosen.annotation if isinstance(chosen, Handle) else None
        return self._handle(Choice(test, value, other), "the result of hr.when", annotation)

    def use(self, handle: Handle) -> AnyInput:
        """The handle's input, where it is valid. Raises `GraphError` outside its pipeline, branch or map."""
        if handle.recorder is not self:
            raise _misplaced(handle, "belongs to another pipeline", "pass it as a parameter of this pipeline")
        if handle.scope != self._scope[: len(handle.scope)]:
            raise _misplaced(handle, "is used outside its map", "use what the map returns: the list of all results")
        if any(condition not in self._when for condition in handle.when):
            raise _misplaced(
                handle, "is used outside its branch", "use what hr.when returns: the value of the one that ran"
            )
        return handle.source

    def order(self, before: Sequence[str], after: Sequence[str]) -> None:
        """Note that each node of `after` starts when those of `before` have ended."""
        for token in after:
            self.drafts[token].after.update(before)

    def uncalled(self, task: object, call: Callable[[], Any]) -> str:
        """The node of a task that stands uncalled in `>>`: one per body, however often it is named."""
        if id(task) not in self._uncalled:
            self._uncalled[id(task)] = cast("Ref", call().source).node
        return self._uncalled[id(task)]

    def nodes_of(self, handle: Handle) -> tuple[str, ...]:
        """The nodes whose results a handle is made of."""
        return tuple(ref.node for ref in refs(self.use(handle)))

    @contextmanager
    def group(self, name: str) -> Generator[None]:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GraphError(f"a group has a name, got {name!r}", where=user_line(), cure='with hr.group("load"):')
        with self._within(group=f"{self._group}.{name}" if self._group else name):
            yield

    @contextmanager
    def inline(self, name: str, arguments: dict[str, object]) -> Generator[None]:
        outer = self._inlined
        while outer and outer.base != name:
            outer = outer.parent
        if outer or name == self.pipeline:
            raise GraphError(f"the pipeline {name} calls itself", where=user_line(), cure="take the call out")
        constants = [shown(frozen_input(value, self)) for value in arguments.values()]
        call = Inlined(name, tuple(text for text in constants if text is not None), self._inlined, user_line())
        with self._within(inlined=call):
            yield

    def note_dataset(self, dataset: Dataset) -> None:
        self.datasets[dataset.kind, dataset.name] = dataset

    def parameter(self, source: AnyInput, note: str, annotation: Any) -> Handle:
        return Handle(self, source, note, annotation)

    def _handle(self, source: AnyInput, note: str, annotation: Any, mapped: bool = False) -> Handle:
        return Handle(self, source, note, annotation, scope=self._scope, when=self._when, mapped=mapped)

    @contextmanager
    def _within(self, **changed: Any) -> Generator[None]:
        before = {name: getattr(self, f"_{name}") for name in changed}
        try:
            for name, value in changed.items():
                setattr(self, f"_{name}", value)
            yield
        finally:
            for name, value in before.items():
                setattr(self, f"_{name}", value)


def active() -> Recorder | None:
    """The recorder of the body that runs here, if one does."""
    return cast("Recorder | None", recording.active.get())


@contextmanager
def recording_to(recorder: Recorder) -> Generator[None]:
    """Record what the block calls."""
    token = recording.active.set(recorder)
    try:
        yield
    finally:
        recording.active.reset(token)


def _misplaced(handle: Handle, problem: str, cure: str) -> GraphError:
    return GraphError(f"{handle.note} {problem}", where=user_line(), cure=cure, code="HR1106")


def _map_refused(message: str, cure: str) -> GraphError:
    return GraphError(message, where=user_line(), cure=cure, code="HR1107")
