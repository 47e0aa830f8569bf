"""``prunebench export``: a run's pruned network as files of its own."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.display import display
from prunebench.harness.record import store
from prunebench.harness.record.folders import find
from prunebench.harness.running.export import export


@click.command("export")
@click.argument("folder", required=False)
@click.option("--agent", help="Label of the run's agent.  [default: that of the best run]")
@click.option("--seed", type=int, help="Of the run.  [default: that of the best run]")
@click.option("--out", help="Where the files go.  [default: FOLDER/export/<agent>-seed-<k>]")
def command(folder: str | None, agent: str | None, seed: int | None, out: str | None) -> int:
    """Write the pruned network of one run in FOLDER as safetensors and ONNX, and time it against the dense one.

    Without FOLDER it is the newest experiment in results/. The best run is that of the highest accuracy on the reward
    split.
    """
    experiment = find()[0] if folder is None else store.load(Path(folder))
    with display() as shown:
        exported = export(experiment, agent=agent, seed=seed, out=None if out is None else Path(out), display=shown)
    for line in exported.lines():
        click.echo(line)
    return 0
