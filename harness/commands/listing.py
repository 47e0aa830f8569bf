"""``prunebench list``: what there is to choose from."""

from __future__ import annotations

import warnings

import click

from prunebench.envs.errors import check_choice
from prunebench.harness.experiments import listing


@click.command("list")
@click.argument("sections", nargs=-1)
def command(sections: tuple[str, ...]) -> int:
    """List agents with their options, models, datasets, and the options' choices; or only the SECTIONS named so."""
    for section in sections:
        check_choice("section", section, listing.SECTIONS)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: nothing that a user of this command can act on
    click.echo("\n\n".join(listing.text(section) for section in sections or listing.SECTIONS))
    return 0
