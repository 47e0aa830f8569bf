"""``prunebench report``: writes tables, figures and one HTML page about experiments."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.commands import completion
from prunebench.harness.display import display
from prunebench.harness.record.folders import find
from prunebench.harness.seeds import parse


@click.command("report")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
@click.option(
    "--reference",
    metavar="AGENT",
    shell_complete=completion.agent,
    help="Agent that the others are compared with.  [default: the last one named]",
)
@click.option(
    "--target",
    "targets",
    type=float,
    metavar="PERCENT",
    multiple=True,
    help="An accuracy: the report says how long each agent took to reach it. May be given several times.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(),
    help="Where the page is written.  [default: report.html in the folder of the experiments; with --seeds 5 "
    "report-seeds-5.html]",
)
@click.option(
    "--claims",
    metavar="FILE",
    type=click.Path(),
    help="A YAML file of your own claims, which take the place of the published ones.",
)
@click.option(
    "--seeds",
    metavar="N",
    help="Seeds of the runs that count, as at a look: 5 for 0 to 4, or which, as 5-9 or 0-2,7. The experiments' own "
    "tables and figures, which are of all, stay as they are.  [default: all]",
)
def command(
    folders: tuple[str, ...],
    reference: str | None,
    targets: tuple[float, ...],
    html: str | None,
    claims: str | None,
    seeds: str | None,
) -> int:
    """Write tables, figures and one HTML page about experiments.

    FOLDERS are experiments or hold some (default: the newest in results/). Several are reported together.
    """
    numbers = None if seeds is None else parse(seeds)
    experiments = find(folders)
    from prunebench.harness.analysis.results import Results  # pandas and matplotlib take a second
    from prunebench.harness.report import page

    with display() as shown:
        results = Results(experiments, reference, targets, None if claims is None else Path(claims), numbers)
        path = page.write(results, None if html is None else Path(html), shown.step)
    for experiment in results.experiments if seeds is None else ():
        click.echo(f"tables in {experiment.tables_folder}, figures in {experiment.figures_folder}")
    together = f", tables of all together in {page.joint_folder(path)}" if len(results.experiments) > 1 else ""
    click.echo(f"report: {path}{together}")
    return 0
