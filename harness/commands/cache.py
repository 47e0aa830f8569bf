"""``prunebench cache``: lists what the cache holds, and deletes it."""

from __future__ import annotations

import click

from prunebench.envs import cache_files
from prunebench.harness import cached
from prunebench.harness.commands.completion import Choice


@click.command("cache")
@click.option(
    "--clear",
    "kinds",
    type=Choice("kind", [*cache_files.CLEARED, "all"]),
    multiple=True,
    metavar="KIND",
    help=f"Delete what is cached of a kind: {', '.join(cache_files.CLEARED)} or all; may be given several times.",
)
def command(kinds: tuple[str, ...]) -> int:
    """List what the cache holds: what files are for, how large and old they are, when last used.

    The cache is kept below 20 GB, or what PRUNEBENCH_CACHE_LIMIT says (as 50GB): decoded images and calibrations that
    were not used for longest are deleted, trained networks and data sets never. What a running process uses stays,
    also where it is to be cleared.
    """
    if not kinds:
        click.echo(cached.text(cache_files.entries()))
        return 0
    gone, kept = cached.clear(cache_files.CLEARED if "all" in kinds else kinds)
    click.echo(cached.cleared(gone, kept))
    return 1 if kept else 0
