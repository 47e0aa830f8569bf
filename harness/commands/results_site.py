"""``prunebench site``: a static site about experiments that were verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prunebench.harness.commands import completion, flags
from prunebench.harness.display import display
from prunebench.harness.errors import StoreError
from prunebench.harness.record.folders import find
from prunebench.harness.running.verify import verify

if TYPE_CHECKING:
    from prunebench.harness.record.store import Experiment


@click.command("site")
@click.argument("folders", nargs=-1, required=True, shell_complete=completion.experiment)
@click.option(
    "--out",
    metavar="FOLDER",
    default="site",
    show_default=True,
    shell_complete=completion.folder,
    help="Where the site is written: a new or an empty folder, or an older site.",
)
@flags.elsewhere
def command(folders: tuple[str, ...], out: str, device: str | None) -> int:
    """Make a static site about experiments: one table to be sorted, a report for every network, and downloads.

    FOLDERS are experiments or hold some; nothing is written into them. Each is verified first, as `prunebench verify`
    does. The site says what could not be verified here, for there are no data, say. An experiment with which something
    is wrong is left out and named, and the exit code is 1.
    """
    from prunebench.harness.report import page, site_files  # pandas and matplotlib take a second

    experiments, target = find(folders), Path(out).expanduser()
    site_files.check(target)
    entries, wrong = [], []
    for experiment in experiments:
        whole, told = _verified(experiment, device)
        if whole is None:
            wrong.append(experiment.folder)
            click.echo("\n".join([*told, f"left out: {experiment.folder}"]), err=True)
        else:
            entries.append(site_files.Entry(experiment, whole, told))
    if entries:
        with display() as shown:
            path = site_files.write(entries, wrong, target, lambda results: page.rendered(results, shown.step))
        click.echo(f"site: {path}, {len(entries)} of {len(experiments)} experiments")
    else:
        click.echo("no site was written: no experiment is left", err=True)
    return 1 if wrong else 0


def _verified(experiment: Experiment, device: str | None) -> tuple[bool | None, list[str]]:
    """Whether all could be made again, None where something is wrong; and what is to be said of it."""
    from prunebench.harness.report import recomputed

    try:
        with display() as shown:
            verified = verify(experiment, device=device, tables=recomputed.compare, display=shown)
    except StoreError as error:  # it was not even prepared, say
        return None, [str(error)]
    return None if verified.findings else verified.problem is None, verified.lines()
