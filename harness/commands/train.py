"""``prunebench train``: a dense network, trained from random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from prunebench.harness.commands.flags import TRAINING_OPTIONS, explicit
from prunebench.harness.dense.train_settings import TrainSettings
from prunebench.harness.display import display
from prunebench.harness.experiments import grid
from prunebench.harness.running.train import train

_DEFAULT = TrainSettings()


@click.command("train")
@click.option(
    "--out",
    type=click.Path(),
    metavar="FILE",
    required=True,
    help="The checkpoint to write, as weights.pt; weights.json beside it says how it was made.",
)
@click.option(
    "--epochs", type=float, metavar="N", help="Passes over the training images.  [default: the data set's own number]"
)
@click.option(
    "--learning-rate",
    type=float,
    metavar="X",
    help="The largest learning rate, after the warm-up.  [default: 0.1 for 128 images per step, in proportion to them]",
)
@click.option(
    "--batch", type=int, metavar="N", default=_DEFAULT.batch, show_default=True, help="Training images per step."
)
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=_DEFAULT.seed,
    show_default=True,
    help="Seed of the random weights, the order of images, their crops and mirror images.",
)
@click.option(
    "--threads",
    type=int,
    metavar="N",
    help="Threads of the training's process; they change the last digits of the weights.  [default: cores]",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    out: str,
    epochs: float | None,
    learning_rate: float | None,
    batch: int,
    seed: int,
    threads: int | None,
    **options: Any,
) -> int:
    """Train a dense network from random weights, for --weights of the other commands.

    It is trained on the training split alone, and scored on the reward and the test split at the end. The same command
    again goes on where it stopped. An existing file is never overwritten.
    """
    task = grid.unchecked(explicit(context, options)).task
    settings = TrainSettings(epochs, learning_rate, batch, seed, threads)
    with display() as shown:
        found = train(task, settings, Path(out).expanduser(), shown)
    click.echo(found.text())
    return 0


for _option in TRAINING_OPTIONS:
    command = _option(command)
