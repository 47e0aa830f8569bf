"""``prunebench bench``: runs experiments and prints their tables."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prunebench.harness.commands.flags import OPTIONS, explicit
from prunebench.harness.display import display
from prunebench.harness.experiments import spoken
from prunebench.harness.following import notification
from prunebench.harness.running import checking, forecast, sessions
from prunebench.harness.running import plan as plans
from prunebench.harness.running.bench import bench

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.running.plan import Plan
    from prunebench.harness.running.sessions import Outcome


@click.command("bench")
@click.argument("file", required=False, type=click.Path())
@click.option("--dry-run", is_flag=True, help="Only print what would run, and about how long it takes.")
@click.option(
    "--notify",
    metavar="COMMAND",
    help="A command for the shell, run when all has ended, with $PRUNEBENCH_SUMMARY, a sentence, $PRUNEBENCH_EXIT_CODE "
    "and $PRUNEBENCH_FOLDERS, a line each.",
)
@click.pass_context
def command(context: click.Context, /, file: str | None, dry_run: bool, notify: str | None, **options: Any) -> int:
    """Run every agent with every seed and print the table. The same command again goes on where it stopped.

    FILE is a YAML file of settings, named like the options below. In it model, preserve and split_seed may be lists:
    every combination is an experiment. An option on the command line takes the place of the file's setting.
    """
    plan = plans.asked(None if file is None else Path(file), explicit(context, options))
    if dry_run:
        with display() as shown:
            text = forecast.describe(plan, shown)
        click.echo(text)
        return 0
    outcomes: list[Outcome] = []
    with notification.at_end(notify, lambda: _ended(plan, outcomes)):
        for outcome in sessions.run(
            plan,
            _typed(sys.argv[1:]),
            tables=_rebuild,
            work=bench,
            check=checking.CHECK_AHEAD,
            show=display,
        ):
            outcomes.append(outcome)
            if len(plan.experiments) > 1:
                click.secho(f"{spoken.cell(outcome.experiment.config)} ({len(outcomes)} of {len(plan.experiments)})")
            _report(outcome)
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _typed(arguments: list[str]) -> str:
    """The command as it is kept: without that of --notify, which decides nothing and may hold a secret."""
    kept = [word for word in arguments if not word.startswith("--notify=")]
    if "--notify" in kept:
        at = kept.index("--notify")
        del kept[at : at + 2]
    return shlex.join(["prunebench", *kept])


def _ended(plan: Plan, outcomes: list[Outcome]) -> notification.Ended:
    return notification.Ended(
        folders=[experiment.folder for experiment in plan.experiments],
        whole=sum(not outcome.failed for outcome in outcomes),
        failed=sum(outcome.failed for outcome in outcomes),
    )


for _option in OPTIONS:  # a decorator each; one by one they would hide the function
    command = _option(command)


def _rebuild(folder: Path) -> Results:
    from prunebench.harness.report.tables import table_list  # pandas takes a second: not before runs are on their way

    return table_list.rebuild(folder)


def _report(outcome: Outcome) -> None:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    if outcome.session is None:
        click.echo(f"failed: {outcome.problem}", err=True)
        return
    session, experiment = outcome.session, outcome.session.experiment
    results = outcome.results or Results([experiment])
    click.echo(table_list.render(results, "terminal"))
    click.echo("\n".join([*results.verdicts, ""]))
    click.echo(f"results in {experiment.folder}, tables in {experiment.tables_folder}")
    if session.seconds:
        click.echo(", ".join(f"{what} {seconds:.1f} s" for what, seconds in session.seconds.items()))
    for name, problem in session.failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)
