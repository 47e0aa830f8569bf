"""``prunebench score``: scores one policy on the reward split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.harness.commands import completion
from prunebench.harness.commands.flags import BUDGET_OPTIONS, TASK_OPTIONS, explicit
from prunebench.harness.display import display
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import grid
from prunebench.harness.record import store
from prunebench.harness.running import score as scoring


@click.command("score")
@click.argument("folder", required=False, shell_complete=completion.experiment)
@click.option(
    "--policy",
    metavar="FILE",
    type=click.Path(),
    required=True,
    help="The policy, as JSON or YAML: a list of preserve ratios, or a mapping with `ratios` or with `channels`.",
)
@click.option("--clip", is_flag=True, help="Fit the policy into the budget first, as a search would.")
@click.pass_context
def command(context: click.Context, /, folder: str | None, policy: str, clip: bool, **options: Any) -> int:
    """Score one policy: its channels, accuracy, loss, cost, and whether it meets the budget.

    FOLDER is an experiment whose settings are used; without it the options describe network, data and budget. Nothing
    is added to any experiment.
    """
    given = explicit(context, options)
    if folder is not None and given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"folder {folder!r}: its experiment's settings are used: leave out {named}")
    wanted = scoring.read(Path(policy).expanduser())
    config = grid.single(given) if folder is None else scoring.settings(store.load(Path(folder)))
    with display() as shown:
        found = scoring.score(wanted, config, clip=clip, display=shown)
    click.echo(scoring.text(found, config))
    return 0


for _option in (*TASK_OPTIONS, *BUDGET_OPTIONS):
    command = _option(command)
