"""Whether a node may run at an instance, or why not; and how many items a map has. Questions only: nothing is changed."""

from __future__ import annotations

from typing import Any, Protocol

from headrace.definitions.nodes import AnyInput, Choice, Const, Element, Mapping, Param, Ref, Sequence
from headrace.runs.facts import Value
from headrace.runs.group import Because
from headrace.runs.path import Path
from headrace.runs.plan import GraphPlan, Need, NodePlan

BRANCH_NOT_TAKEN = Because("branch not taken")


class State(Protocol):
    """What a verdict rests on: how the instances before it ended, and their values."""

    plan: GraphPlan
    params: dict[str, Any]
    values: dict[tuple[str, Path], Value]

    @property
    def groups(self) -> Any: ...
    def counts(self, node: str, key: Path) -> tuple[int, int, int, int]: ...


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
                need = next(n for n in needs if n.upstream == name)
                _, succeeded, failed, skipped = self._state.counts(name, where[: need.shared])
                is_join = need.shared < self._state.plan.nodes[name].depth
                if failed > (self._allowance(name) if is_join else 0):
                    return _failed(f"upstream {name} failed")
                if skipped and not succeeded and not failed:
                    return self._skip_reason(name, where[: need.shared])
                return None
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

    def length_of(self, over: AnyInput, path: Path) -> int | None:
        """How many items a map over this input has; None where the value does not say."""
        match over:
            case Const(value=value):
                return len(value) if isinstance(value, list | tuple) else None
            case Param(name=name):
                value = self._state.params.get(name)
                return len(value) if isinstance(value, list | tuple) else None
            case Sequence(items=items):
                return len(items)
            case Ref(node=name, item=element):
                node = self._state.plan.nodes[name]
                key = path[: _shared_depth(path, node)]
                if node.depth > len(key):
                    return self._state.counts(name, key)[1]
                value = self._state.values[name, key]
                return value.length if element is None else (value.lengths or ())[element]
            case Element(scope=scope):
                outer = self._state.plan.scopes[scope]
                index = path[outer.depth - 1]
                return self._element_length(outer.scope.over, path[: outer.depth - 1], index)
            case _:
                return None

    def _element_length(self, over: AnyInput, path: Path, index: int) -> int | None:
        match over:
            case Const(value=value):
                return len(value[index])
            case Param(name=name):
                return len(self._state.params[name][index])
            case Ref(node=name, item=None):
                node = self._state.plan.nodes[name]
                key = path[: _shared_depth(path, node)]
                if node.depth > len(key):
                    return self._state.values[name, (*key, index)].length if node.depth == len(key) + 1 else None
                lengths = self._state.values[name, key].lengths
                return lengths[index] if lengths else None
            case _:
                return None

    def _allowance(self, node: str) -> int:
        return self._state.plan.nodes[node].node.options.allow_failed


def _failed(why: str) -> Because:
    return Because(why, after_failure=True)


def _shared_depth(path: Path, node: NodePlan) -> int:
    return min(len(path), node.depth)
