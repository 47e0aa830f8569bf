"""The command ``prunebench``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from prunebench.harness.commands import (
    bench,
    cache,
    check_agent,
    export,
    finetune,
    listing,
    merge,
    prune,
    report,
    results_site,
    score,
    show,
    table,
    track,
    train,
    try_agent,
    verify,
)
from prunebench.harness.errors import USER_ERRORS, UnmetError
from prunebench.harness.processes.local import JobCrash


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(None, "-V", "--version", package_name="prunebench")
def cli() -> None:
    """Compare auto-pruning agents: programs that choose how many channels each layer of a CNN keeps.

    `prunebench bench` runs a comparison; the other commands look at what it left, or take it further.
    """


for _module in (
    train,
    bench,
    show,
    track,
    table,
    report,
    results_site,
    merge,
    verify,
    score,
    finetune,
    export,
    prune,
    check_agent,
    try_agent,
    listing,
    cache,
):
    cli.add_command(_module.command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: exit code 0 done, 1 a run or the program failed, 2 the user can mend it, 130 interrupted."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        return cli.main(arguments, prog_name="prunebench", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        return 0
    except click.ClickException as error:
        return _complain(error.format_message())
    except UnmetError as error:
        return _complain(str(error), 1)
    except (*USER_ERRORS, OSError) as error:
        return _complain(str(error))
    except JobCrash as crash:
        click.echo(f"prunebench: error: a process failed: {crash}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted: the same command goes on where this one stopped", err=True)
        return 130


def _complain(message: str, code: int = 2) -> int:
    click.echo(f"prunebench: error: {' '.join(message.split())}", err=True)
    return code
