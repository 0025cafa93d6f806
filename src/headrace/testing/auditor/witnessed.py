"""E2, E7, E9: the store beside the witness: nothing was handed out uncommitted, nothing accepted that did not finish."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from headrace.testing.auditor.evidence import Violation
from headrace.testing.auditor.fold import Book, Start
from headrace.testing.auditor.witness import Begun


class WitnessCheck:
    """Reads on in the witness's lists where it stopped."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._sent = self._begun = self._finished = self._done = 0
        self._entered: set[Start] = set()
        self._returned: set[Start] = set()
        self._sent_by: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)

    def compare(self) -> Iterator[Violation]:
        witness = self.book.witness
        if not witness.sent_log:
            return
        for begun in witness.sent_log[self._sent :]:
            if begun.start not in self.book.started:
                yield Violation("E7", "nothing is sent before it is committed", str(begun))
            yield from self._rate(begun)
        self._sent = len(witness.sent_log)
        for begun in witness.begun_log[self._begun :]:
            if begun.start in self._entered:
                yield Violation("E2", "an epoch is entered once", str(begun))
            self._entered.add(begun.start)
        self._begun = len(witness.begun_log)
        self._returned.update(begun.start for begun in witness.finished_log[self._finished :])
        self._finished = len(witness.finished_log)
        for start, log in list(self.book.done.items())[self._done :]:
            if start not in self._returned and log == "engine":
                yield Violation("E2", "only what finished in time is accepted", f"{log} {start}")
        self._done = len(self.book.done)
        for start in self.book.late:
            if start not in witness.told_log:
                yield Violation("E8", "running ones are told within the grace", f"{start}")
        self.book.late.clear()

    def _rate(self, begun: Begun) -> Iterator[Violation]:
        """E9: of a task with a rate never more starts in its time, in whatever maps and by whatever engine; but who took
        over after the wall clock has jumped ahead cannot know of those before.
        """
        run = self.book.runs.get(begun.run)
        node = run.node(begun.node) if run is not None else None
        if node is None or node.options.rate is None:
            return
        before = self._sent_by[begun.run, begun.node]
        before.append((begun.at_us, begun.crew))
        since_us, leapt_us = begun.at_us - node.options.rate_us, self.book.witness.leapt_us
        recent = [at for at, crew in before if at > since_us and (crew == begun.crew or at > leapt_us)]
        if len(recent) > node.options.rate:
            yield Violation("E9", "limits hold at every commit", f"{begun}: {len(recent)} starts in its time")
