"""``prunebench check-agent``: checks that an agent keeps the contract."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import click

from prunebench.harness.commands import completion
from prunebench.harness.display import Display, display
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.processes import variables


@click.command("check-agent")
@click.argument("agent", shell_complete=completion.agent)
def command(agent: str) -> int:
    """Check that an agent keeps the rules that `bench` relies on, on a small toy task.

    It takes seconds, for agents that train networks a minute or two, and says meanwhile what it is at.

    AGENT is named as in `bench --agents`, with options where it has some: my_pkg.module:MyAgent:step=0.1.
    """
    spec = AgentSpec.from_plain(agent)
    registry.check_name(spec.name)
    variables.limit_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: nothing that a user of this command can act on
    from prunebench.harness.checks import contract

    registry.check(spec)
    with display() as shown:
        watch = Watch(shown, len(contract.CHECKS), registry.factory(spec))
        try:
            contract.check_agent(watch, on_check=watch.begin)
            remarks = contract.remarks(watch)
        except contract.ContractError as error:
            click.echo(f"{spec.label} breaks the contract: {error}", err=True)
            return 1
    click.echo(f"{spec.label} keeps the contract ({len(contract.CHECKS)} checks)")
    for remark in remarks:
        click.echo(f"{spec.label}: {remark}", err=True)
    return 0


class Watch:
    """A factory of agents that shows each search as it begins.

    Args:
        shown: where.
        checks: how many there are.
        func: the factory itself, which messages name.
    """

    def __init__(self, shown: Display, checks: int, func: Callable[..., Any]) -> None:
        self.func = func
        self._shown, self._checks = shown, checks
        self._begun: list[str] = []
        self._searches = 0

    def begin(self, check: str) -> None:
        """A check begins."""
        self._begun.append(check.removeprefix("check_").replace("_", " "))
        self._searches = 0

    def __call__(self, **options: Any) -> Any:
        """Make an agent."""
        self._searches += 1
        note = f"{self._begun[-1]}, search {self._searches}"
        self._shown.step("checking", len(self._begun) - 1, self._checks, note)
        return self.func(**options)
