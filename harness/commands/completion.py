"""Names on the command line: checked where they are a choice, and completed by the shell."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from prunebench.envs.data import datasets
from prunebench.envs.errors import check_choice
from prunebench.envs.networks import models
from prunebench.harness.experiments import registry
from prunebench.harness.record import folders


class Choice(click.Choice[str]):
    """One of a few names; a wrong one is answered as everywhere in prunebench, with the choices and the nearest."""

    def __init__(self, what: str, choices: Iterable[str]) -> None:
        super().__init__(tuple(choices))
        self.what = what

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value; raise TaskError unless it is one of the choices."""
        check_choice(self.what, value, self.choices)
        return value


def network(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The networks of the table and of other packages, and how the name of a library's begins."""
    return [name for name in (*models.names(), *models.registered(), *models.PREFIXES) if name.startswith(incomplete)]


def dataset(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The data sets of the table, and those of other packages."""
    return [name for name in datasets.names() if name.startswith(incomplete)]


def agent(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The agents that are installed."""
    return [name for name in registry.names() if name.startswith(incomplete)]


def agents(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The agents that are installed, behind those that stand before the last comma or space."""
    before, last = re.fullmatch(r"(.*[ ,]|)(.*)", incomplete, re.DOTALL).groups()  # type: ignore[union-attr]
    return [before + name for name in agent(context, parameter, last)]


def experiment(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The experiments under ``results/``; where none begins like this, the shell's folders."""
    found = [CompletionItem(name) for name in folders.here() if name.startswith(incomplete)]
    return found or folder(context, parameter, incomplete)


def folder(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of folders."""
    return [CompletionItem(incomplete, type="dir")]
