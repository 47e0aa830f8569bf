"""``prunebench table``: an experiment's tables, rebuilt."""

from __future__ import annotations

from pathlib import Path

import click

from envs.errors import check_choice
from harness import store

_TABLE_FORMATS = ("terminal", "markdown", "csv", "latex")


@click.command("table")
@click.option("--out", required=True, help="Folder of the experiment.")
@click.option("--format", "form", default="terminal", show_default=True, help=", ".join(_TABLE_FORMATS) + ".")
def command(out: str, form: str) -> int:
    """Rebuild an experiment's tables from its lines on disk, and print one."""
    check_choice("format", form, _TABLE_FORMATS)
    experiment = store.load(Path(out))
    from harness import tables

    tables.write(experiment)
    click.echo(tables.render(experiment, form), nl=False)
    return 0
