"""``prunebench bench``: the main job."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from harness import config as configs
from harness.bench import Session, bench
from harness.commands.options import OPTIONS, to_config
from harness.config import ExperimentConfig
from harness.executors import cores
from harness.progress import display


@click.command("bench")
def command(**options: Any) -> int:
    """Run every agent with every seed and print the table. The same command again goes on where it stopped."""
    jobs, out = options.pop("jobs"), options.pop("out")
    config = to_config(options)
    configs.check(config)
    folder = Path(out) if out is not None else configs.default_folder(config)
    with display() as shown:
        session = bench(
            config,
            folder,
            jobs=_default_jobs(config) if jobs is None else jobs,
            command=shlex.join(["prunebench", *sys.argv[1:]]),
            display=shown,
        )
    _report(session)
    return 1 if session.failed else 0


for _option in OPTIONS:  # a decorator each; one by one they would hide the function
    command = _option(command)


def _default_jobs(config: ExperimentConfig) -> int:
    """One on a GPU: the batch size fits it once, and runs beside each other would disturb each other's times."""
    return 1 if config.task.device == "cuda" else max(1, cores() // config.threads)


def _report(session: Session) -> None:
    from harness import tables

    experiment = session.experiment
    click.echo(tables.render(experiment, "terminal"))
    click.echo(f"results in {experiment.folder}, tables in {experiment.tables_folder}")
    if session.seconds:
        click.echo(", ".join(f"{what} {seconds:.1f} s" for what, seconds in session.seconds.items()))
    for name, problem in session.failed.items():
        click.echo(f"failed: {name}: {problem}", err=True)
