"""Whether a node may run at an instance, or why not. Questions only: nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from headrace.definitions.nodes import AnyInput, Choice, Const, Element, Mapping, Param, Ref, Sequence
from headrace.runs.facts import Value
from headrace.runs.group import Because
from headrace.runs.path import Path
from headrace.runs.plan import GraphPlan, Need, NodePlan, shared_scopes

BRANCH_NOT_TAKEN = Because("branch not taken")


class State(Protocol):
    """What a verdict rests on: how the instances before it ended, and their values."""

    plan: GraphPlan
    params: dict[str, Any]
    values: dict[tuple[str, Path], Value]

    @property
    def groups(self) -> Any: ...
    def counts(self, node: str, key: Path) -> tuple[int, int, int, int]: ...
    def is_beyond(self, node: str, key: Path) -> bool: ...


class Verdicts:
    """Answers from the state of one run."""

    def __init__(self, state: State) -> None:
        self._state = state

    def verdict(self, plan: NodePlan, where: Path) -> Because | None:
        """None where the node may run at this instance, else why it is skipped."""
        for condition in plan.node.when:
            truth = self._truth(condition.test, where)
            if truth is None:
                return _failed("upstream test of its branch did not succeed")
            if truth is not condition.wanted:
                return BRANCH_NOT_TAKEN
        rule = plan.node.options.trigger_rule
        needs = (*plan.group_needs, *plan.item_needs)
        if rule == "all_success":
            for value in plan.inputs:
                if (why := self.missing(value, where, needs)) is not None:
                    return why
            for name in plan.node.after:
                if (why := self.missing(Ref(name), where, needs)) is not None:
                    return why
            return None
        counts = [self._state.counts(need.upstream, where[: need.shared]) for need in needs]
        if rule == "none_failed" and any(failed for _, _, failed, _ in counts):
            return _failed("upstream task failed, and the rule is none_failed")
        if rule == "one_success" and not any(succeeded for _, succeeded, _, _ in counts):
            return _failed("upstream tasks: none succeeded, and the rule is one_success")
        if rule == "one_failed" and not any(failed for _, _, failed, _ in counts):
            return Because("no upstream task failed, and the rule is one_failed")
        return None

    def missing(self, value: AnyInput, where: Path, needs: tuple[Need, ...]) -> Because | None:
        """Why this input cannot be had, or None."""
        match value:
            case Ref(node=name):
                return self._unmet(next(n for n in needs if n.upstream == name), where)
            case Choice(test=test, then=then, otherwise=otherwise):
                truth = self._truth(test, where)
                if truth is None:
                    return _failed("upstream test of the branch did not succeed")
                chosen = then if truth else otherwise
                return None if chosen is None else self.missing(chosen, where, needs)
            case Sequence(items=items):
                return next((w for w in (self.missing(i, where, needs) for i in items) if w), None)
            case Mapping(items=items):
                return next((w for w in (self.missing(i, where, needs) for i in items.values()) if w), None)
            case Element(scope=scope):
                return self.missing(self._state.plan.scopes[scope].scope.over, where, needs)
            case _:
                return None

    def _unmet(self, need: Need, where: Path) -> Because | None:
        """Why what is needed of this task cannot be had, or None.

        A list is had once what is missing from it is final: forgiven, or of a branch that was not taken. What else is
        missing may come with a retry, and would move what others have made of the list.
        """
        name, key = need.upstream, where[: need.shared]
        if self._state.is_beyond(name, key):
            return _failed(f"upstream {name} failed")
        is_join = need.shared < self._state.plan.nodes[name].depth
        if is_join and self._state.groups[name, key].after_failure:
            cause = next(
                (before for before, at in self._before(need, where) if self._state.is_beyond(before, at)), None
            )
            if cause is not None:
                return _failed(f"upstream {name} did not run for all items ({cause} failed)")
        _, succeeded, failed, skipped = self._state.counts(name, key)
        if skipped and not succeeded and not failed:
            return self._skip_reason(name, key)
        return None

    def _before(self, need: Need, where: Path) -> Iterator[tuple[str, Path]]:
        """Everything that comes before what is needed, with the place in which it bears upon it."""
        plan = self._state.plan
        scope = plan.nodes[need.upstream].node.scope[: need.shared]
        seen, left = {need.upstream}, [need.upstream]
        while left:
            node = plan.nodes[left.pop()]
            scopes = (plan.scopes[name] for name in node.node.scope)
            needs = (*node.group_needs, *node.item_needs, *(n for s in scopes for n in s.needs))
            for name in dict.fromkeys(n.upstream for n in needs):
                if name not in seen:
                    seen.add(name)
                    left.append(name)
                    yield name, where[: shared_scopes(plan.nodes[name].node.scope, scope)]

    def _skip_reason(self, name: str, key: Path) -> Because:
        plan = self._state.plan.nodes[name]
        group = self._state.groups[name, key[:-1] if len(key) == plan.depth > 0 else key]
        because = group.because
        if because is None:
            is_failure = len(key) == plan.depth > 0 and key[-1] in group.skipped_after_failure
            because = _failed("its own upstream failed") if is_failure else BRANCH_NOT_TAKEN
        if because.after_failure:
            return _failed(f"upstream {name} did not run ({because.why})")
        return Because(f"{name} was skipped ({because.why})")

    def _truth(self, test: AnyInput, where: Path) -> bool | None:
        match test:
            case Const(value=value):
                return bool(value)
            case Param(name=name):
                return bool(self._state.params.get(name))
            case Ref(node=name):
                plan = self._state.plan.nodes[name]
                value = self._state.values.get((name, where[: plan.depth]))
                return None if value is None else {"true": True, "false": False}.get(value.body or "")
            case _:
                return None


def _failed(why: str) -> Because:
    return Because(why, after_failure=True)
