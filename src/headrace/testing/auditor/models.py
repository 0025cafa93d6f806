"""A1, A2: one retraining per accepted ask, one at a time; exactly one champion; each window is judged once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from headrace.models.facts import AliasMoved, RetrainAsked, StreakMoved, VersionRegistered, WindowJudged
from headrace.runs.facts import RunCreated, RunEnded
from headrace.testing.auditor.audit import Evidence, Place, Violation

CHAMPION = "champion"


def check_models(evidence: Evidence, places: list[Place]) -> Iterator[Violation]:
    accepted: Counter[str] = Counter()
    trainings: dict[str, list[str]] = defaultdict(list)
    training: dict[str, str] = {}  # model → the run that trains it now
    of_run: dict[str, str] = {}
    versions: Counter[str] = Counter()
    aliases: dict[tuple[str, str], int] = {}
    windows: set[tuple[str, int]] = set()
    ended: dict[str, int] = defaultdict(int)
    for place in places:
        match place.fact:
            case RetrainAsked(accepted=True, model=model):
                accepted[model] += 1
            case RunCreated(cause="retrain", key=key, run=run):
                model = key.split(":")[1]
                trainings[model].append(key)
                if model in training:
                    yield Violation("A1", "one training at a time", f"{place} while run {training[model]} trains")
                training[model] = of_run[run] = run
                of_run[run] = model
            case RunEnded(run=run) if run in of_run:
                training.pop(of_run[run], None)
            case VersionRegistered() as version:
                versions[version.model] += 1
                if version.version_number != versions[version.model]:
                    yield Violation("A2", "versions of a model are 1 to n", str(place))
            case AliasMoved() as moved:
                now = aliases.get((moved.model, moved.alias), 0)
                if moved.previous != now or not 1 <= moved.version_number <= versions[moved.model]:
                    yield Violation("A2", "an alias moves from where it is to a version", f"{place}; it is {now}")
                aliases[moved.model, moved.alias] = moved.version_number
            case WindowJudged() as judged:
                if (judged.monitor, judged.window[1]) in windows:
                    yield Violation("A1", "a window is judged once", str(place))
                windows.add((judged.monitor, judged.window[1]))
            case StreakMoved() as streak:
                if streak.window_end_us < ended[streak.asker]:
                    yield Violation("A1", "streaks follow the windows", str(place))
                ended[streak.asker] = streak.window_end_us
            case _:
                pass
    for model, keys in trainings.items():
        wanted = [f"retrain:{model}:{n + 1}" for n in range(accepted[model])]
        if keys != wanted:
            yield Violation("A1", "one retraining per accepted ask", f"{keys}, asked {accepted[model]} times")
    for model in accepted.keys() - trainings.keys():
        yield Violation("A1", "one retraining per accepted ask", f"{model}: none of {accepted[model]}")
    yield from _check_rows(evidence, aliases)


def _check_rows(evidence: Evidence, aliases: dict[tuple[str, str], int]) -> Iterator[Violation]:
    ask = evidence.database.read
    rows = {(model, alias): version for model, alias, version in ask("SELECT model, alias, version FROM aliases")}
    if rows != aliases:
        yield Violation("D2", "rows are the fold of the facts", f"aliases {rows}, facts {aliases}")
    champions = ask("SELECT model, version FROM model_versions WHERE state = 'champion' ORDER BY model, version")
    wanted = sorted((model, version) for (model, alias), version in aliases.items() if alias == CHAMPION)
    if champions != wanted:
        yield Violation("A2", "exactly one champion", f"{champions}, alias {wanted}")
    if not evidence.has_ended:
        return
    for model, state in ask("SELECT model, state FROM controllers"):
        if any(f'"phase":"{phase}"' in state for phase in ("asked", "training", "judging")):
            yield Violation("D5", "once faults stop, all comes to an end", f"{model} is still {state}")
