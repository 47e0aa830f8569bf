"""Budgets as absolute numbers: how users write them, and what they are of the dense network's cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from numpy.typing import ArrayLike

from prunebench.envs.environment.budget import Budget, BudgetError, lowest
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.errors import TaskError

_SUFFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_COUNT = re.compile(r"((?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?) ?([KMG]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Form:
    """A way to write a budget.

    Attributes:
        cost: what it limits, a name in :data:`prunebench.envs.tasks.costs.COSTS`.
        noun: what the number counts.
        scale: from the number as it is written to the cost's unit.
        example: of a value.
        text: for the command line's help.
    """

    cost: str
    noun: str
    scale: int
    example: str
    text: str

    @property
    def counted(self) -> bool:
        """Whether it is a whole number, which may be written with K, M or G."""
        return self.scale == 1


FORMS = {
    "macs": Form("macs", "MACs", 1, "150M", "The budget as a number of MACs per image, as 150M."),
    "params": Form("parameters", "parameters", 1, "1.2M", "The budget as a number of parameters, as 1.2M."),
    "latency_ms": Form(
        "latency",
        "ms per image",
        10**6,
        "4.0",
        "The budget as milliseconds per image, as a search times networks: in batches of up to 100 images.",
    ),
}
"""The absolute budgets by the names of their options."""
_BY_COST = {form.cost: (name, form) for name, form in FORMS.items()}


@dataclass(frozen=True)
class Limit:
    """An absolute budget.

    Attributes:
        cost: what is limited.
        limit: the most that is allowed, in the cost's unit (of latency nanoseconds per image).
    """

    cost: str
    limit: float

    def __str__(self) -> str:
        """As users read it: ``150,000,000 MACs``."""
        _, form = _BY_COST[self.cost]
        return f"{said(self.cost, self.limit)} {form.noun}"

    @property
    def option(self) -> tuple[str, float]:
        """The option that says it, and the option's value."""
        name, form = _BY_COST[self.cost]
        return name, self.limit / form.scale

    @property
    def short(self) -> str:
        """For the name of a folder: ``macs150M``, ``latency4ms``."""
        if self.cost == "latency":
            return f"latency{said(self.cost, self.limit)}ms"
        count = int(self.limit)
        suffix = next((suffix for suffix, size in reversed(_SUFFIXES.items()) if count >= size), "")
        return f"{_BY_COST[self.cost][0]}{(Decimal(count) / _SUFFIXES[suffix]).normalize():f}{suffix}"

    def share(self, model: CostModel, channels: ArrayLike, lower_bound: float, round_to: int = 1) -> float:
        """What it is of the dense network's cost: a fraction above 0, at most 1.

        Args:
            model: the limited cost.
            channels: ``(D,)``, of the dense network.
            lower_bound: the smallest preserve ratio of a layer.
            round_to: channels are kept in multiples of it.

        Raises:
            BudgetError: it is above the dense network's cost, or below that of the smallest network.
        """
        return self.of(float(model(channels)), least(model, channels, lower_bound, round_to), lower_bound, round_to)

    def of(self, dense: float, smallest: float, lower_bound: float, round_to: int = 1) -> float:
        """As :meth:`share`, from the costs of the dense and of the smallest network."""
        if self.limit > dense:
            raise BudgetError(f"{self._option}: the dense network has {self._said(dense, -1)}: expected that or less")
        if self.limit < smallest:
            raise BudgetError(
                f"{self._option}: with every layer at its {lowest(lower_bound, round_to)} the network still has "
                f"{self._said(smallest, 1)}: expected that or more"
            )
        return self.limit / dense

    @property
    def _option(self) -> str:
        return f"{self.option[0].replace('_', '-')} {said(self.cost, self.limit)}"

    def _said(self, cost: float, towards: int) -> str:
        """A cost that is itself a budget that can be met: what is cut off is rounded up or down."""
        shown = Decimal(cost) if _BY_COST[self.cost][1].counted else _four_digits(Decimal(cost), towards)
        return str(Limit(self.cost, float(shown)))


def said(cost: str, value: float) -> str:
    """A cost as a number in the unit in which users give it: ``150,000,000`` MACs, or ``4.05`` milliseconds."""
    _, form = _BY_COST[cost]
    return f"{int(value):,}" if form.counted else f"{value / form.scale:.4g}"


def _four_digits(value: Decimal, towards: int) -> Decimal:
    step = Decimal(10) ** (value.adjusted() - 3)
    return (value / step).to_integral_value(ROUND_CEILING if towards > 0 else ROUND_FLOOR) * step


def least(model: CostModel, channels: ArrayLike, lower_bound: float, round_to: int = 1) -> float:
    """The cost of the network that has every layer at its lower bound."""
    counts = Budget.of(model, channels, lower_bound, 1.0, round_to=round_to).lower_counts
    return float(model(counts))


def read(name: str, value: Any) -> Limit:
    """The budget of an option in :data:`FORMS`.

    Args:
        name: the option's.
        value: a number, or a text; counts may end in K, M or G.

    Raises:
        TaskError: it is none, or not above 0.
    """
    form = FORMS[name]
    number = None if isinstance(value, bool) else _number(str(value), form)
    if number is None or number * form.scale < 1:
        least, behind = ("1 or more", "with K, M or G behind it or not, ") if form.counted else ("a number above 0", "")
        raise TaskError(
            f"{name.replace('_', '-')} {value!r}: expected {least}, {behind}as {form.example} ({form.noun})"
        )
    return Limit(form.cost, int(number) if form.counted else float(number * form.scale))


def _number(text: str, form: Form) -> Decimal | None:
    found = _COUNT.fullmatch(text.strip())
    if found is None or (found[2] and not form.counted):
        return None
    return Decimal(found[1].replace("_", "")) * _SUFFIXES[found[2].upper()]
