"""The table of costs that a budget can limit. Importing it imports none of what computes or measures them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

from prunebench.envs.environment.channel_pruning import COUNTED
from prunebench.envs.errors import check_choice
from prunebench.envs.progress import Progress
from prunebench.envs.tasks.task import TaskConfig

if TYPE_CHECKING:
    from prunebench.envs.environment.cost import CostModel
    from prunebench.envs.pruning.network import PrunableNetwork


@dataclass(frozen=True)
class Cost(ABC):
    """All that is known of a cost.

    Attributes:
        name: its name for the option ``cost``, and in what the environment counts.
        label: its name in tables and figures.
        unit: the unit of the dense network's cost.
        measured: whether it must be measured first: nothing is known of it before there are weights, and what the
            environment says of it is a prediction.
    """

    name: str
    label: str
    unit: str
    measured: ClassVar[bool] = False

    @property
    def predicted_label(self) -> str:
        """What a budget limits, in words."""
        return f"predicted {self.label}" if self.measured else self.label

    @abstractmethod
    def closed_form(self, network: PrunableNetwork) -> CostModel:
        """The cost of a network of any weights; where it is measured, another that stands in for it in an estimate."""

    @abstractmethod
    def prepare(self, task: TaskConfig, progress: Progress) -> dict[str, Any]:
        """Have the cost of a prepared task ready, for the present number of threads.

        Returns:
            Plain facts for the manifest, ``<name>_sha256`` among them where the cost is read from a file.

        Raises:
            TaskError: it cannot be a budget here.
        """

    @abstractmethod
    def model(self, task: TaskConfig) -> CostModel:
        """The cost of a prepared task, in the unit; it is prepared unless it was."""

    @abstractmethod
    def dense(self, facts: Mapping[str, Any]) -> int:
        """The dense network's cost, from a manifest's facts about its task."""


@dataclass(frozen=True)
class Counted(Cost):
    """A cost in closed form.

    Attributes:
        formula: from a network to a cost model, as ``package.module:function``.
    """

    formula: str

    def closed_form(self, network: PrunableNetwork) -> CostModel:
        """What the formula says."""
        return resolve_name(self.formula)(network)

    def prepare(self, task: TaskConfig, progress: Progress) -> dict[str, Any]:
        """Nothing; the facts are what the dense network costs, where they do not have it anyway."""
        if self.name in COUNTED:
            return {}
        from prunebench.envs.tasks.preparation import load_evaluator

        return {self.name: int(self.model(task)(load_evaluator(task).dense))}

    def model(self, task: TaskConfig) -> CostModel:
        """The closed form of the task's network."""
        from prunebench.envs.tasks.preparation import load_evaluator

        return self.closed_form(load_evaluator(task).network)

    def dense(self, facts: Mapping[str, Any]) -> int:
        """As :meth:`prepare` or the task's preparation left it."""
        return int((facts["dense"] if self.name in COUNTED else facts)[self.name])


@dataclass(frozen=True)
class Latency(Cost):
    """Measured once per task, machine and number of threads; see :mod:`prunebench.envs.tasks.latency_budget`."""

    measured: ClassVar[bool] = True

    def closed_form(self, network: PrunableNetwork) -> CostModel:
        """MACs stand in for it."""
        return named("macs").closed_form(network)

    def prepare(self, task: TaskConfig, progress: Progress) -> dict[str, Any]:
        """Measure, unless the cache has it."""
        from prunebench.envs import cache
        from prunebench.envs.tasks import latency_budget
        from prunebench.envs.tasks.preparation import load_evaluator

        path = latency_budget.ensure_latency(task, progress)
        nanoseconds = self.model(task)(load_evaluator(task).dense)
        return {"latency_sha256": cache.sha256(path), "latency_ns": round(float(nanoseconds))}

    def model(self, task: TaskConfig) -> CostModel:
        """What was measured."""
        from prunebench.envs.tasks import latency_budget

        return latency_budget.load_latency(task)

    def dense(self, facts: Mapping[str, Any]) -> int:
        """As :meth:`prepare` left it."""
        return int(facts["latency_ns"])


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Counted("macs", "MACs", "MACs", "prunebench.envs.pruning.cost_formulas:macs"),
        Counted("parameters", "parameters", "parameters", "prunebench.envs.pruning.cost_formulas:parameters"),
        Latency("latency", "latency", "nanoseconds per image"),
    )
}


def named(name: str) -> Cost:
    """The cost of a name.

    Raises:
        TaskError: there is none.
    """
    check_choice("cost", name, COSTS)
    return COSTS[name]
