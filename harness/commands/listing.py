"""``prunebench list``: what there is to choose from."""

from __future__ import annotations

import click

from envs import datasets, models
from harness import registry


@click.command("list")
def command() -> int:
    """Name the agents, networks and data sets."""
    networks = [*models.names(), *models.PATTERNS]
    for title, names in (("agents", registry.names()), ("models", networks), ("datasets", datasets.names())):
        click.echo(f"{title}: {', '.join(names)}")
    return 0
