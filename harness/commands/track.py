"""``prunebench track``: writes what runs do into other tools, while they do it."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.commands import completion
from prunebench.harness.commands.completion import Choice
from prunebench.harness.following import tracking
from prunebench.harness.record.folders import find


@click.command("track")
@click.argument("folder", shell_complete=completion.experiment)
@click.option(
    "--to",
    "tool",
    type=Choice("to", tracking.TOOLS),
    required=True,
    help="The tool that is written for; all come with `pip install 'prunebench[track]'`.",
)
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=completion.folder,
    help="Where it is written, outside of the experiment.  [default: FOLDER-<tool>]",
)
def command(folder: str, tool: str, out: str | None) -> int:
    """Write what the runs of experiments do into TensorBoard, MLflow or Optuna, until all of them have ended.

    FOLDER is an experiment or holds some; it is only read, and runs do not notice. Each evaluation is a point with its
    accuracy, loss, cost and time. The command may be stopped at any time: started again it goes on, and no point is
    written twice.
    """
    experiments = find([folder])
    place = Path(folder).expanduser().resolve()
    target = place.with_name(f"{place.name}-{tool}") if out is None else Path(out).expanduser()
    return 0 if tracking.track(experiments, tool, target, click.echo) else 1
