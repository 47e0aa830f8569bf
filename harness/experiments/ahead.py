"""The modules that the server of processes imports ahead for all runs. Importing this imports none of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prunebench.envs.data import datasets
from prunebench.harness.experiments import registry

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec

HEAVY_MODULES = (
    *("torch", "torchvision", "gymnasium", "sklearn.datasets", "prunebench.harness.inside.run"),
    *datasets.modules(),
    "prunebench.envs.networks.resnet",
)


def modules(agents: Iterable[AgentSpec] = ()) -> list[str]:
    """The modules that every run needs, and those of our own agents among the ones that will run."""
    return [*HEAVY_MODULES, *registry.own_modules(agents)]
