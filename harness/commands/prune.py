"""``prunebench prune``: one network, pruned, fine-tuned, exported, timed and reported."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from prunebench.harness.commands import completion
from prunebench.harness.commands.flags import BUDGET_OPTIONS, TASK_OPTIONS, explicit
from prunebench.harness.display import display
from prunebench.harness.experiments import agentspec, grid
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.prune import steps, summary_page

_AGENT = "adaptive_clustered_bo"


@click.command("prune", context_settings={"default_map": steps.DEFAULTS})
@click.option(
    "--agent",
    metavar="NAME",
    default=_AGENT,
    show_default=True,
    shell_complete=completion.agents,
    help="What searches; options as in bo:initial=5.",
)
@click.option(
    "--evaluations",
    type=int,
    metavar="N",
    default=ExperimentConfig().evaluations,
    show_default=True,
    help="Policies that the search may try.",
)
@click.option(
    "--epochs",
    type=float,
    metavar="N",
    help="Passes over the training images in fine-tuning; 0 is none.  [default: a quarter of what the dense network "
    "was trained for]",
)
@click.option(
    "--out",
    metavar="FOLDER",
    shell_complete=completion.folder,
    help="Where everything is written.  [default: results/prune-<made from the settings>]",
)
@click.pass_context
def command(
    context: click.Context, /, agent: str, evaluations: int, epochs: float | None, out: str | None, **options: Any
) -> int:
    """Prune one network to a budget: search, fine-tune, export, time, report.

    Give one of --macs, --params, --latency-ms and --preserve. The summary compares dense and pruned network; the folder
    has safetensors, ONNX and a page. The same command again goes on where it stopped.
    """
    given = explicit(context, options)
    config = grid.single(given | {"agents": tuple(agentspec.parse(agent)), "seeds": 1, "evaluations": evaluations})
    folder = steps.default_folder(config) if out is None else Path(out).expanduser()
    with display() as shown:
        typed = shlex.join(["prunebench", *sys.argv[1:]])
        pruned = steps.prune(config, folder, epochs=epochs, command=typed, display=shown, page=summary_page.write)
    click.echo(pruned.text())
    return 1 if pruned.unmet else 0


for _option in (*TASK_OPTIONS, *BUDGET_OPTIONS):
    command = _option(command)
