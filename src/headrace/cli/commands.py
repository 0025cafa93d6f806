"""All commands by name, with the module of each: a plain list, so that `headrace --help` imports nothing else."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command: the module whose `app` parses it, and its line in the overview."""

    module: str
    help: str


VERBS = {
    "new": Command("new", "Make a new project with a pipeline and a test."),
    "check": Command("check", "Find every mistake that can be found without a run."),
    "dev": Command("dev", "Start the engine here; it reloads when you save."),
    "run": Command("run", "Run a pipeline here and now, in this process."),
    "trigger": Command("trigger", "Ask the engine for a run."),
    "backfill": Command("backfill", "Ask the engine for a run of each past window."),
    "logs": Command("logs", "Show what the tasks of a run have printed."),
    "why": Command("why", "Say what waits or fails, the reason and the next step."),
    "trace": Command("trace", "Trace a prediction back to model, run, data and code."),
    "doctor": Command("doctor", "Check this machine, the project and its store."),
    "backup": Command("backup", "Copy the project's state into a folder, also while it is in use."),
    "restore": Command("restore", "Put a backup in place where there is no store."),
    "demo": Command("demo", "Play a year of flights: stream, drift, retraining."),
}

NOUNS = {
    "pipelines": Command("pipelines", "ls show pause resume"),
    "runs": Command("runs", "ls show cancel retry"),
    "topics": Command("topics", "ls append tail"),
    "tables": Command("tables", "ls show"),
    "streams": Command("streams", "ls show"),
    "dead-letters": Command("dead_letters", "ls show"),
    "models": Command("models", "ls show promote rollback"),
    "monitors": Command("monitors", "ls show"),
}

COMMANDS = VERBS | NOUNS


def overview() -> str:
    """The text of `headrace --help`."""
    lines = ["Usage: headrace COMMAND …", "", "Batch, streaming and hybrid pipelines for AI work.", ""]
    for title, commands in (("Everyday", VERBS), ("Things", NOUNS)):
        lines += [f"{title}:", *(f"  {name:<13} {command.help}" for name, command in commands.items()), ""]
    lines += [
        "Every command takes --help, --json, --env NAME and --project FOLDER.",
        "First steps:  headrace new my-project",
    ]
    return "\n".join(lines)
