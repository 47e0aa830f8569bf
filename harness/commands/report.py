"""``prunebench report``: from runs to tables, figures and one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.display import display
from prunebench.harness.record.folders import find


@click.command("report")
@click.argument("folders", nargs=-1)
@click.option("--reference", help="Agent that the others are compared with.  [default: random, or the first]")
@click.option("--target", "targets", type=float, multiple=True, help="Accuracy to be reached, in per cent; repeatable.")
@click.option("--html", help="File of the report.  [default: report.html in the folder of the experiments]")
def command(folders: tuple[str, ...], reference: str | None, targets: tuple[float, ...], html: str | None) -> int:
    """Write tables, figures and the report of the experiments in FOLDERS (default: the newest in results/).

    A folder is an experiment's own, or holds some at any depth: they are reported together.
    """
    experiments = find(folders)
    from prunebench.harness.analysis.results import Results  # pandas and matplotlib take a second
    from prunebench.harness.report import page

    with display() as shown:
        results = Results(experiments, reference, targets)
        path = page.write(results, None if html is None else Path(html), shown.step)
    for experiment in experiments:
        click.echo(f"tables in {experiment.tables_folder}, figures in {experiment.figures_folder}")
    together = f", tables of all together in {page.joint_folder(path)}" if len(experiments) > 1 else ""
    click.echo(f"report: {path}{together}")
    return 0
