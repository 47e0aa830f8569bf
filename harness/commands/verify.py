"""``prunebench verify``: checks the results of experiments, one's own or another's."""

from __future__ import annotations

import click

from prunebench.harness.commands import completion, flags
from prunebench.harness.display import display
from prunebench.harness.errors import ConfigError
from prunebench.harness.record.folders import find
from prunebench.harness.running.verify import verify


@click.command("verify")
@click.argument("folders", nargs=-1, shell_complete=completion.experiment)
@click.option("--data", metavar="FOLDER", type=click.Path(), help="Where the images are here, if not where they were.")
@click.option(
    "--weights", metavar="FILE", type=click.Path(), help="Where the dense network's checkpoint is here, likewise."
)
@flags.elsewhere
def command(folders: tuple[str, ...], data: str | None, weights: str | None, device: str | None) -> int:
    """Check the results of experiments: every number that can be made again is, and compared with what is on disk.

    FOLDERS are experiments or hold some (default: the newest in results/); nothing is written into them. Hashes of
    weights and data, the dense network's accuracy, what every policy keeps and costs, every run's incumbent on both
    splits, and every table. What is wrong is named, a line each. Exit code 0: all is right; 1: something is wrong; 2:
    it cannot be found out here, for there are no data, say. Times, latencies, figures and fine-tuned accuracies are
    not checked.
    """
    from prunebench.harness.report import recomputed  # pandas takes a second

    experiments, codes = find(folders), []
    if len(experiments) > 1 and (data or weights):
        raise ConfigError(f"data, weights: {len(experiments)} experiments were named: expected one beside them")
    for experiment in experiments:
        with display() as shown:
            verified = verify(
                experiment, data=data, weights=weights, device=device, tables=recomputed.compare, display=shown
            )
        for line in verified.lines():
            click.echo(line)
        codes.append(verified.code)
    return 1 if 1 in codes else max(codes)
