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
    help="The policy, as JSON or YAML: a list of preserve ratios, or a mapping with `ratios` or with `channels`.",
)
@click.option(
    "--from",
    "origin",
    metavar="FOLDER",
    shell_complete=completion.experiment,
    help="Instead of a file: the policy that a run of this experiment ended with, and the experiment's settings.",
)
@click.option(
    "--agent",
    metavar="NAME",
    shell_complete=completion.agent,
    help="With --from: agent of the run, as the table names it.  [default: that of the best run]",
)
@click.option("--seed", type=int, metavar="K", help="With --from: seed of the run.  [default: that of the best run]")
@click.option("--clip", is_flag=True, help="Fit the policy into the budget first, as a search would.")
@click.pass_context
def command(
    context: click.Context,
    /,
    folder: str | None,
    policy: str | None,
    origin: str | None,
    agent: str | None,
    seed: int | None,
    clip: bool,
    **options: Any,
) -> int:
    """Score one policy: its channels, accuracy, loss, cost, and whether it meets the budget.

    FOLDER is an experiment whose settings are used, but for --device where it is named; without it the options describe
    network, data and budget. Nothing is added to any experiment.
    """
    given = explicit(context, options)
    place = folder if origin is None else origin
    device = None if place is None else given.pop("device", None)
    _check(given, folder, policy, origin, agent, seed)
    experiment = None if place is None else store.load(Path(place)).on(device)
    if origin is None:
        wanted = scoring.read(Path(str(policy)).expanduser())
    else:
        assert experiment is not None
        run, wanted = scoring.of_run(experiment, agent, seed)
        click.echo(run)
    config = grid.single(given) if experiment is None else scoring.settings(experiment)
    with display() as shown:
        found = scoring.score(wanted, config, clip=clip, display=shown)
    click.echo(scoring.text(found, config))
    return 0


def _check(
    given: dict[str, Any],
    folder: str | None,
    policy: str | None,
    origin: str | None,
    agent: str | None,
    seed: int | None,
) -> None:
    """Raise ConfigError where policy or settings are named twice, or not at all."""
    named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if origin is not None:
        others = {"the folder": folder, "--policy": policy, named: named}
        if surplus := [name for name, value in others.items() if value]:
            raise ConfigError(f"from {origin!r}: policy and settings are that run's: leave out {', '.join(surplus)}")
        return
    if policy is None:
        raise ConfigError("policy: expected a file (--policy), or the experiment of a run (--from)")
    if agent is not None or seed is not None:
        raise ConfigError("agent, seed: they name a run of an experiment: expected --from beside them, not --policy")
    if folder is not None and given:
        raise ConfigError(f"folder {folder!r}: its experiment's settings are used: leave out {named}")


for _option in (*TASK_OPTIONS, *BUDGET_OPTIONS):
    command = _option(command)
