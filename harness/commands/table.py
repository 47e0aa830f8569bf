"""``prunebench table``: the table of one or several experiments, rebuilt."""

from __future__ import annotations

import click

from prunebench.envs.errors import check_choice
from prunebench.harness.record.folders import find

_FORMATS = ("terminal", "markdown", "csv", "latex")


@click.command("table")
@click.argument("folders", nargs=-1)
@click.option("--out", help="Folder of an experiment, as it was named to `bench`.")
@click.option("--format", "form", default="terminal", show_default=True, help=", ".join(_FORMATS) + ".")
@click.option("--caption", help="Of the table, in place of the generated one.")
@click.option("--reference", help="Agent that the others are compared with.  [default: random, or the first]")
def command(folders: tuple[str, ...], out: str | None, form: str, caption: str | None, reference: str | None) -> int:
    """Rebuild the tables of the experiments in FOLDERS (default: the newest in results/) from the lines on disk.

    Every experiment's tables are written into its folder; the one that is printed has a row per agent, or per network
    and agent where there are several experiments.
    """
    check_choice("format", form, _FORMATS)
    experiments = find([*folders, *([out] if out is not None else [])])
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    results = Results(experiments, reference)
    text = table_list.render(results, form, caption)
    table_list.write(results)
    click.echo(text, nl=False)
    return 0
