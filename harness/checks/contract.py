"""The contract that every agent meets, as checks: on the toy task, each a function of what makes the agent.

In the manner of Gymnasium's ``check_env`` and scikit-learn's ``check_estimator``. docs/adding-an-agent.md says the
contract in words. Whatever else a check is about, each of its searches also fails on an action that is wrong, a step
that was not paid for, an exception, or evaluations that are left over.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from prunebench.envs.environment.channel_pruning import BUDGET_MODES
from prunebench.harness.checks import contract_env, writes
from prunebench.harness.checks.contract_env import DETERMINISTIC, TAGS, ContractError, Factory, Setting

if TYPE_CHECKING:
    import pytest

__all__ = ["CHECKS", "ContractError", "check_agent", "parametrize_with_checks", "remarks"]

Check = Callable[[Factory], None]

_TOLERANCE = 1e-6  # between ratios, as in a replay


def check_agent(factory: Factory, on_check: Callable[[str], None] | None = None) -> None:
    """Check one agent.

    Args:
        factory: called with ``seed=...`` it gives an object with ``search(env, evaluations)``; a class will do.
        on_check: called with the name of each check before it begins.

    Raises:
        ContractError: the agent breaks the contract; one sentence about the first violation.
    """
    for check in CHECKS:
        if on_check is not None:
            on_check(check.__name__)
        check(factory)


def remarks(factory: Factory) -> list[str]:
    """Sentences on what is allowed, but seldom meant, after one more search.

    Raises:
        ContractError: as :func:`check_agent`.
    """
    _, env = contract_env.watched(factory, Setting())
    done = len(env.policies)
    if 2 * env.changed <= done:
        return []
    return [
        f"in {env.changed} of {done} episodes the budget made another policy of the one asked for; learn from"
        " evaluation['realised'], or ask for budget.ratios(budget.project(ratios)), which stays as it is"
        " (docs/adding-an-agent.md)"
    ]


def parametrize_with_checks(factories: Mapping[str, Factory] | Iterable[Factory]) -> pytest.MarkDecorator:
    """Every check of every agent as a test of its own, for pytest; ids are as ``check_depths-MyAgent``.

    ::

        @parametrize_with_checks([MyAgent])
        def test_contract(check, factory):
            check(factory)

    Args:
        factories: each as for :func:`check_agent`, by name where their own names do not tell them apart.
    """
    import pytest  # not installed with prunebench itself

    named = factories if isinstance(factories, Mapping) else {contract_env.name_of(f): f for f in factories}
    cases = [
        pytest.param(check, factory, id=f"{check.__name__}-{name}")
        for name, factory in named.items()
        for check in CHECKS
    ]
    return pytest.mark.parametrize(("check", "factory"), cases)


def check_construction(factory: Factory) -> None:
    """It is made from the keyword ``seed``, has ``search``, and no tags that mean nothing."""
    agent = contract_env.make(factory, seed=0)
    tags: Any = getattr(agent, "tags", frozenset())
    if not isinstance(tags, Collection) or isinstance(tags, str) or any(tag not in TAGS for tag in tags):
        raise ContractError(f"{type(agent).__name__} has the tags {tags!r}: expected a set of some of {list(TAGS)}")


def check_evaluations(factory: Factory) -> None:
    """It uses exactly the evaluations it is given: many, fewer than a usual initial design, a single one."""
    for evaluations in (12, 3, 1):
        contract_env.search(factory, Setting(evaluations))


def check_budget_modes(factory: Factory) -> None:
    """It works in each of the budget modes."""
    for budget in BUDGET_MODES:
        contract_env.search(factory, Setting(budget=budget))


def check_same_seed_same_policies(factory: Factory) -> None:
    """A search can be repeated: that is how an interrupted run goes on, and how others reproduce it."""
    setting = Setting()
    first = _policies(factory, setting)
    _draw()
    again = _policies(factory, setting)
    if (difference := _difference(first, again)) is not None:
        raise ContractError(f"{setting}, repeated, {difference}: expected the same policies from the same seed")


def check_other_seeds_other_policies(factory: Factory) -> None:
    """The seed makes a difference, or the tag says that it makes none."""
    tagged = DETERMINISTIC in contract_env.tags_of(contract_env.make(factory, seed=0))
    for setting in (Setting(), Setting(24, layers=2)):  # the second leaves any fixed initial design behind
        other = replace(setting, seed=1)
        same = _difference(_policies(factory, setting), _policies(factory, other)) is None
        if not same:
            break
    if same and not tagged:
        raise ContractError(f"{other} gives the same policies as seed 0: expected others, or the tag {DETERMINISTIC!r}")
    if tagged and not same:
        raise ContractError(f"{other} gives other policies than seed 0: expected the same, or no tag {DETERMINISTIC!r}")


def check_constant_rewards(factory: Factory) -> None:
    """It copes with rewards that tell it nothing."""
    contract_env.search(factory, Setting(constant=True))


def check_no_choice(factory: Factory) -> None:
    """It copes with a budget that allows the dense network."""
    for budget in BUDGET_MODES:
        contract_env.search(factory, Setting(6, budget=budget, preserve=1.0))


def check_depths(factory: Factory) -> None:
    """It copes with a single layer and with sixty."""
    for budget in BUDGET_MODES:
        contract_env.search(factory, Setting(layers=1, budget=budget))
        contract_env.search(factory, Setting(4, layers=60, budget=budget))


def check_writes_nothing(factory: Factory) -> None:
    """It leaves no file behind and changes none: runs are many, and beside each other; ``notes`` is for reports."""
    setting = Setting()
    contract_env.search(factory, setting)  # imports whatever it imports when it needs it
    with writes.noticed() as problems:
        contract_env.search(factory, setting)
    if problems:
        raise ContractError(f"{setting} {problems[0]}: expected nothing to be written to disk")


def check_notes(factory: Factory) -> None:
    """What it leaves about its search, if anything, can be kept with the run."""
    for setting in (Setting(6), Setting(1)):
        agent, _ = contract_env.search(factory, setting)
        notes = getattr(agent, "notes", None)
        if notes is not None and (problem := _unwritable(notes)):
            raise ContractError(f"{setting} leaves notes that {problem}: expected a dict of plain values as JSON has")


CHECKS: tuple[Check, ...] = (
    check_construction,
    check_evaluations,
    check_budget_modes,
    check_same_seed_same_policies,
    check_other_seeds_other_policies,
    check_constant_rewards,
    check_no_choice,
    check_depths,
    check_writes_nothing,
    check_notes,
)


def _policies(factory: Factory, setting: Setting) -> list[list[float]]:
    return contract_env.search(factory, setting)[1]


def _difference(first: list[list[float]], second: list[list[float]]) -> str | None:
    """A few words on how the second search differs from the first; None where it does not."""
    for number, (before, after) in enumerate(zip(first, second, strict=False), start=1):
        for layer, (old, new) in enumerate(zip(before, after, strict=True), start=1):
            if abs(old - new) > _TOLERANCE:
                return f"gives layer {layer} in evaluation {number} the ratio {new:.6g} instead of {old:.6g}"
    return None if len(first) == len(second) else f"ends after {len(second)} evaluations instead of {len(first)}"


def _draw() -> None:
    """Move the global generators on, as other code in the process does between two searches."""
    random.random()
    np.random.rand()
    if "torch" in sys.modules:
        sys.modules["torch"].rand(1)


def _unwritable(notes: Any) -> str:
    """A few words on why notes cannot be kept as JSON; empty where they can."""
    if not isinstance(notes, dict):
        return f"are of type {type(notes).__name__}"
    try:
        json.dumps(notes, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"JSON cannot hold ({contract_env.described(error)})"
    return ""
