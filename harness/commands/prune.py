"""``prunebench prune``: one network, pruned, fine-tuned, exported, timed and reported."""

import click


@click.command("prune")
def command() -> int:
    """Prune."""
    return 0
