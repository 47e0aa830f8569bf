"""``prunebench merge``: makes one experiment of several."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from prunebench.harness.commands import completion
from prunebench.harness.record import folders as searched
from prunebench.harness.record import merging


@click.command("merge")
@click.argument("folders", nargs=-1, required=True, shell_complete=completion.experiment)
@click.option(
    "--out",
    metavar="FOLDER",
    required=True,
    shell_complete=completion.folder,
    help="New or empty folder for the experiment.",
)
def command(folders: tuple[str, ...], out: str) -> int:
    """Copy the runs of several experiments of one task into a new one: parts, shards, other agents, other seeds.

    FOLDERS are experiments or hold some. Network, weights, data, splits and settings must be the same. Of a run that
    several hold the finished copy is taken; finished copies that contradict each other are refused.
    """
    parts = searched.find_in_order(folders)
    found = merging.merge(parts, Path(out).expanduser(), shlex.join(["prunebench", *sys.argv[1:]]))
    for line in merging.told(found):
        click.echo(line)
    done = [run for run in found.copies.values() if run.checked().state == "done"]
    click.echo(f"{len(parts)} experiments in {out}: {len(found.copies)} runs, {len(done)} of them done")
    return 0
