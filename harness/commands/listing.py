"""``prunebench list``: prints what there is to choose from."""

from __future__ import annotations

import warnings

import click

from prunebench.harness.commands.completion import Choice
from prunebench.harness.experiments import listing


@click.command("list")
@click.argument("sections", nargs=-1, type=Choice("section", listing.SECTIONS))
def command(sections: tuple[str, ...]) -> int:
    """List agents and their options, networks, data sets, and what the choices of options mean."""
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: nothing that a user of this command can act on
    click.echo("\n\n".join(listing.text(section) for section in sections or listing.SECTIONS))
    return 0
