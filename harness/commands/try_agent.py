"""``prunebench try-agent``: an agent's searches on fitted tasks, in seconds."""

from __future__ import annotations

from pathlib import Path

import click

from prunebench.harness.commands import completion
from prunebench.harness.commands.completion import Choice
from prunebench.harness.display import display
from prunebench.harness.errors import check_count
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import AgentSpec

_TASKS = ("resnet56", "resnet110", "mobilenetv2", "toy")
"""As :data:`prunebench.harness.lab.trial.TASKS`, which takes a second to import."""
_EVALUATIONS = 60  # with 20 seeds a cheap agent and its company take less than a minute on two cores


@click.command("try-agent")
@click.argument("agent", shell_complete=completion.agent)
@click.option("--task", "tasks", type=Choice("task", _TASKS), multiple=True, help="Only this task; may be repeated.")
@click.option("--seeds", type=int, metavar="N", default=20, show_default=True, help="Searches on each task.")
@click.option(
    "--evaluations",
    type=int,
    metavar="N",
    default=_EVALUATIONS,
    show_default=True,
    help="Policies that a search may try.",
)
@click.option(
    "--out", metavar="FOLDER", shell_complete=completion.folder, help="Also draw the curves, as SVG and PDF, in here."
)
def command(agent: str, tasks: tuple[str, ...], seeds: int, evaluations: int, out: str | None) -> int:
    """Try an agent out on fitted models of three recorded tasks and on a toy, in a minute.

    AGENT is named as in `bench --agents`; random and uniform stand beside it. It is no ranking: see what is printed
    on top.
    """
    spec = AgentSpec.from_plain(agent)
    registry.check_name(spec.name)
    check_count("seeds", seeds)
    check_count("evaluations", evaluations)
    registry.check(spec)
    from prunebench.harness.lab import shown, trial  # pandas takes a second

    specs = [spec, *(AgentSpec(name) for name in trial.BESIDE if name != spec.label)]
    with display() as progress:
        trials = trial.curves(specs, tasks or _TASKS, seeds, evaluations, progress)
    if idle := [f"{task}, seed {trials[task].idle[0]}" for task in trials if trials[task].idle]:
        click.echo(f"failed: {spec.label} made no evaluation on {'; '.join(idle)}", err=True)
        return 1
    click.echo(shown.text(trials, seeds))
    if out is not None:
        from prunebench.harness.report.figures import figure_anytime, figure_files

        drawn = {task: figure_anytime.draw(specs, found.means, "evaluations") for task, found in trials.items()}
        figure_files.write({name: figure for name, figure in drawn.items() if figure is not None}, Path(out))
        click.echo(f"\ncurves in {out}")
    return 0
