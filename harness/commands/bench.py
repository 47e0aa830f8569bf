"""``prunebench bench``: the main job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.harness.commands.options import OPTIONS, explicit
from prunebench.harness.display import display
from prunebench.harness.experiments import grid
from prunebench.harness.running import forecast, sessions
from prunebench.harness.running import plan as plans
from prunebench.harness.running.bench import bench
from prunebench.harness.running.sessions import Outcome


@click.command("bench")
@click.argument("file", required=False)
@click.option("--dry-run", is_flag=True, help="Only say what would be run, and about how long it takes.")
@click.pass_context
def command(context: click.Context, /, file: str | None, dry_run: bool, **options: Any) -> int:
    """Run every agent with every seed and print the table. The same command again goes on where it stopped.

    FILE (YAML) holds settings under the names of the options; model, preserve and split_seed may be lists, and every
    combination is an experiment. Options that are named here as well take the place of the file's.
    """
    plan = plans.plan(None if file is None else Path(file), explicit(context, options))
    if dry_run:
        with display() as shown:
            text = forecast.describe(plan, shown)
        click.echo(text)
        return 0
    outcomes = []
    for outcome in sessions.run(
        plan, shlex.join(["prunebench", *sys.argv[1:]]), work=bench, check=sessions.CHECK_AHEAD, show=display
    ):
        outcomes.append(outcome)
        if len(plan.experiments) > 1:
            click.secho(f"{grid.spoken(outcome.experiment.config)} ({len(outcomes)} of {len(plan.experiments)})")
        _report(outcome)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


for _option in OPTIONS:  # a decorator each; one by one they would hide the function
    command = _option(command)


def _report(outcome: Outcome) -> None:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    if outcome.session is None:
        click.echo(f"failed: {outcome.problem}", err=True)
        return
    session, experiment = outcome.session, outcome.session.experiment
    click.echo(table_list.render(Results([experiment]), "terminal"))
    click.echo(f"results in {experiment.folder}, tables in {experiment.tables_folder}")
    if session.seconds:
        click.echo(", ".join(f"{what} {seconds:.1f} s" for what, seconds in session.seconds.items()))
    for name, problem in session.failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)
