"""``prunebench check-agent``: checks that an agent keeps the contract."""

from __future__ import annotations

import warnings

import click

from prunebench.harness.commands import completion
from prunebench.harness.display import display
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.processes import variables


@click.command("check-agent")
@click.argument("agent", shell_complete=completion.agent)
def command(agent: str) -> int:
    """Check that an agent keeps the rules that `bench` relies on. It takes seconds, on a small toy task.

    AGENT is named as in `bench --agents`, with options where it has some: my_pkg.module:MyAgent:step=0.1.
    """
    spec = AgentSpec.from_plain(agent)
    registry.check_name(spec.name)
    variables.limit_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # of libraries: nothing that a user of this command can act on
    from prunebench.harness.checks import contract

    registry.check(spec)
    passed: list[str] = []

    def watch(name: str) -> None:
        shown.step("checking", len(passed), len(contract.CHECKS), name)
        passed.append(name)

    with display() as shown:
        try:
            contract.check_agent(registry.factory(spec), on_check=watch)
        except contract.ContractError as error:
            click.echo(f"{spec.label} breaks the contract: {error}", err=True)
            return 1
    click.echo(f"{spec.label} keeps the contract ({len(contract.CHECKS)} checks)")
    return 0
