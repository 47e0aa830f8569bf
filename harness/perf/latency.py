"""`python -m prunebench.harness.perf.latency`: whether predicted latency ranks policies well enough on this machine
to be a budget.

Times do not depend on the weights, so the network is freshly drawn and the images are noise: nothing is trained.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

from prunebench.envs.choices import SCOPES
from prunebench.envs.errors import check_choice
from prunebench.envs.networks import models
from prunebench.harness.errors import USER_ERRORS

if TYPE_CHECKING:
    from prunebench.envs.environment.cost import CostModel
    from prunebench.envs.evaluation.evaluator import Evaluator
    from prunebench.envs.evaluation.latency import LatencyCheck

CLASSES, SIZE = 10, 32


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", default="mobilenetv2", show_default=True, help="Name of the network; its weights are random.")
@click.option(
    "--scope",
    default="inner",
    show_default=True,
    help="Channels that may be pruned: those inside blocks, or also those that shortcuts tie.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of the processor that forward passes may use.",
)
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True, help="Images in a batch.")
@click.option(
    "--networks",
    type=click.IntRange(min=4),
    default=40,
    show_default=True,
    help="Number of small networks that are timed layer by layer.",
)
@click.option(
    "--policies",
    type=click.IntRange(min=3),
    default=20,
    show_default=True,
    help="Number of policies whose networks are timed as a whole, twice.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of rounds in which the layers are timed.",
)
def command(model: str, scope: str, threads: int, images: int, networks: int, policies: int, rounds: int) -> None:
    """Time the layers of a network, fit a latency to its channel counts, and check it against whole networks."""
    models.check_name(model)
    check_choice("scope", scope, SCOPES)
    import torch

    from prunebench.envs.evaluation import latency, timing

    torch.set_num_threads(threads)
    evaluator = _evaluator(model, scope, images)
    batch = timing.timing_batch(evaluator, images)
    table = latency.measure(evaluator, batch, networks=networks, rounds=rounds, progress=_progress)
    cost = latency.fit(evaluator.network, table)
    found = latency.check(evaluator, cost, batch, policies=policies, progress=_progress)
    click.echo(_summary(model, evaluator, cost, found))
    click.echo(f"\nbatches of {images} images of {SIZE} x {SIZE}, scope {scope}, threads: {threads}\n{found.sentence}")


def _evaluator(name: str, scope: str, images: int) -> Evaluator:
    import torch

    from prunebench.envs.evaluation.noise import evaluator_on_noise, noise
    from prunebench.envs.pruning.network import PrunableNetwork

    torch.manual_seed(0)
    network = PrunableNetwork(models.build(name, CLASSES), torch.zeros(1, 3, SIZE, SIZE), scope)
    batch = noise(network, images, images)
    return evaluator_on_noise(network, batch, batch, least_squares=False)


def _summary(name: str, evaluator: Evaluator, cost: CostModel, found: LatencyCheck) -> str:
    from prunebench.envs.evaluation.latency import rank_correlation

    macs = evaluator.costs["macs"](found.counts)
    rows: list[tuple[str, str]] = [
        ("network", name),
        ("predicted, dense, ms / image", f"{cost(evaluator.dense) / 1e6:.3f}"),
        ("measured, policies, ms / batch", f"{found.measured.min() * 1e3:.1f} to {found.measured.max() * 1e3:.1f}"),
        ("largest / smallest MACs of the policies", f"{macs.max() / macs.min():.3f}"),
        ("rank correlation, predicted with measured", f"{found.rank_correlation:.3f}"),
        ("rank correlation, MACs with measured", f"{rank_correlation(macs, found.measured):.3f}"),
        ("rank correlation, measured with measured again", f"{found.ceiling:.3f}"),
        ("mean error of the prediction", f"{found.error:.1%}"),
    ]
    return "\n" + tabulate(rows, disable_numparse=True)


def _progress(what: str, done: int, total: int) -> None:
    if done % 20 == 0 or done == total:
        click.echo(f"{what}: {done} of {total}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; exit code 0, or 2 with one line where the user can mend what is wrong."""
    try:
        command.main(arguments, prog_name="python -m prunebench.harness.perf.latency", standalone_mode=False)
    except (click.ClickException, *USER_ERRORS) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"error: {message}", err=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
