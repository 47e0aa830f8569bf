"""``prunebench export``: writes the pruned network of a run into files of its own."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.commands import completion, flags
from prunebench.harness.display import display
from prunebench.harness.record import store
from prunebench.harness.record.folders import find
from prunebench.harness.running.export import export


@click.command("export")
@click.argument("folder", required=False, shell_complete=completion.experiment)
@click.option(
    "--agent",
    metavar="NAME",
    shell_complete=completion.agent,
    help="Agent of the run, as the table names it.  [default: that of the best run]",
)
@click.option("--seed", type=int, metavar="K", help="Seed of the run.  [default: that of the best run]")
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=completion.folder,
    help="New or empty folder for the files.  [default: <experiment>/export/<agent>-seed-<k>]",
)
@flags.elsewhere
def command(folder: str | None, agent: str | None, seed: int | None, out: str | None, device: str | None) -> int:
    """Write the pruned network of one run as safetensors and ONNX. It is timed against the dense network.

    FOLDER is the run's experiment (default: the newest in results/). Without options it is the experiment's best run,
    that of the highest reward (by default the accuracy on the reward split).
    """
    experiment = find()[0] if folder is None else store.load(Path(folder))
    with display() as shown:
        place = None if out is None else Path(out).expanduser()
        exported = export(experiment.on(device), agent=agent, seed=seed, out=place, display=shown)
    for line in exported.lines():
        click.echo(line)
    return 0
