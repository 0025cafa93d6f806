"""`headrace check`: every mistake that can be found without a run."""

from __future__ import annotations

from headrace.cli.here import loaded, project_settings
from headrace.cli.output import show_json, show_line
from headrace.cli.parser import PLAIN, Common, make_app
from headrace.cli.words import count
from headrace.errors import ProjectError

app = make_app("check", "Find every mistake that can be found without a run.")

_SHOWN = 12


@app.default
def check(*, common: Common = PLAIN) -> int:
    """Find every mistake that can be found without a run, and list what was imported and found: some names of each kind.

    The exit code is 2 where there is an error; warnings leave it 0.
    """
    from headrace.graph.check import check as problems_of

    settings = project_settings(common)
    found = loaded(settings)
    problems = problems_of(found)
    project = found.project
    errors = sum(problem.level == "error" for problem in problems)
    kinds = {
        kind: sorted(getattr(project, kind))
        for kind in ("pipelines", "streams", "monitors", "topics", "tables", "models", "secrets")
    }
    if common.json:
        show_json({"project": project.name, "modules": project.modules, "found": kinds, "problems": problems})
        return ProjectError.exit_code if errors else 0
    show_line(f"{project.name}: imported {', '.join(project.modules) or 'nothing'}")
    for kind, names in kinds.items():
        if names:
            show_line(f"  {kind:<9} {_some(names)}")
    for problem in problems:
        show_line(f"\n{problem.code} {problem.level}: {problem.message}", problem.level)
        show_line(f"  at   {problem.where}")
        if problem.cure:
            show_line(f"  try  {problem.cure}")
    if not problems:
        show_line("no mistakes found", "ok")
    else:
        show_line(f"\n{count(errors, 'error')}, {count(len(problems) - errors, 'warning')}")
    return ProjectError.exit_code if errors else 0


def _some(names: list[str]) -> str:
    """As many names as can be taken in at a glance: `--json` has them all."""
    more = f" … and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
