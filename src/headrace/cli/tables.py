"""`headrace tables`: managed tables, their versions and who made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.cli.here import Here, open_here
from headrace.cli.names import known
from headrace.cli.output import notice, show_fields, show_json, show_table
from headrace.cli.parser import PLAIN, Common, Limit, make_app, within
from headrace.cli.words import local, size

if TYPE_CHECKING:
    import polars as pl

    from headrace.definitions.project import TableDef

app = make_app("tables", "Tables: their versions, and who made them.")


@app.command
def ls(*, common: Common = PLAIN) -> None:
    """All tables with their last version."""
    from headrace.store.sql.reads import tables

    with open_here(common) as here:
        rows = {row.table: row for row in tables.tables(here.db)}
        declared = here.project.tables
    if common.json:
        return show_json(
            [{"table": name, "last": rows.get(name)} for name in sorted({*declared, *rows})],
        )
    return show_table(
        ("TABLE", "WRITTEN", "#VERSION", "#ROWS", "RUN", "AT"),
        [
            (
                name,
                declared[name].mode if name in declared else "not declared",
                *((r.version, f"{r.rows:,}", r.run, local(r.at_us)) if (r := rows.get(name)) else ("", "", "-", "")),
            )
            for name in sorted({*declared, *rows})
        ],
        empty='no tables: hr.Table("orders")',
    )


@app.command
def show(
    name: str,
    /,
    *,
    rows: Annotated[int, Parameter(validator=within("--rows", 0))] = 0,
    limit: Limit = 20,
    common: Common = PLAIN,
) -> None:
    """One table: its columns and versions, and with --rows its last rows.

    Parameters
    ----------
    name
        The table.
    rows
        So many of the last rows of what a reader gets now.
    limit
        How many versions, newest first.
    """
    from headrace.store.sql.reads import tables

    with open_here(common) as here:
        declared = here.project.tables
        known("table", name, {*declared, *(row.table for row in tables.tables(here.db))}, here=here)
        versions = tables.versions(here.db, name, limit=limit)
        definition = declared.get(name)
        last = None if definition is None or rows < 1 else _last_rows(here, definition, rows)
    if common.json:
        found = {} if last is None else {"rows": last.to_dicts()}
        return show_json({"definition": definition, "versions": versions, **found})
    columns = (versions[0].columns if versions else None) or (definition.schema if definition else None) or {}
    show_fields(
        [
            ("table", name),
            ("written", definition.mode if definition else "not declared in the code"),
            ("key", definition.key if definition else None),
            ("columns", " ".join(f"{column}:{word}" for column, word in columns.items())),
        ]
    )
    print()
    show_table(
        ("#VERSION", "#ROWS", "#SIZE", "RUN", "TASK", "AT", "REPLACES RUN"),
        [
            (
                v.version,
                f"{v.rows:,}",
                size(sum(part.size_bytes for part in v.parts)),
                v.run,
                v.node,
                local(v.at_us),
                " ".join(v.replaced),
            )
            for v in versions
        ],
        empty="nothing was published yet",
    )
    if last is not None:
        print()
        show_table(last.columns, last.iter_rows(), empty="it has no rows")
    elif rows > 0:
        notice(f"the code does not declare {name}: without its declaration its rows cannot be read")
    return None


def _last_rows(here: Here, table: TableDef, n: int) -> pl.DataFrame:
    import polars as pl

    from headrace.app.opening import HERE, make_holdings
    from headrace.connectors.here import HereAccess
    from headrace.store.sql.reads import tables

    if table.known is None and not tables.versions(here.db, table.name, limit=1):
        return pl.DataFrame()
    access = HereAccess(make_holdings(here.settings, here.store, here.project, HERE), here.store)
    return access.read_table(table, None, None).tail(n)
