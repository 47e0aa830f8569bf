"""``prunebench score``: one policy on the reward split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.harness.commands.options import BUDGET_OPTIONS, TASK_OPTIONS, explicit
from prunebench.harness.display import display
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import grid
from prunebench.harness.record import store
from prunebench.harness.running import score as scoring


@click.command("score")
@click.option("--policy", required=True, help="JSON or YAML: a list of preserve ratios, or `ratios:`, or `channels:`.")
@click.option("--clip", is_flag=True, help="Realise the policy within the budget, as in a search.")
@click.option("--out", help="Folder of an experiment whose settings are used, instead of the options above.")
@click.pass_context
def command(context: click.Context, /, policy: str, clip: bool, out: str | None, **options: Any) -> int:
    """Score a policy: its channels, accuracy, loss, cost, and whether it meets the budget. No results are written."""
    given = explicit(context, options)
    if out is not None and given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"out {out!r}: its experiment's settings are used: leave out {named}")
    wanted = scoring.read(Path(policy))
    config = grid.single(given) if out is None else store.load(Path(out)).config
    with display() as shown:
        found = scoring.score(wanted, config, clip=clip, display=shown)
    click.echo(scoring.text(found, config))
    return 0


for _option in (*TASK_OPTIONS, *BUDGET_OPTIONS):
    command = _option(command)
