"""`make perf`, second part: how long the BO agent thinks, against BoTorch's default refit of the same data.

The agent searches a made-up task from its first evaluation on, so that every fit starts where the last one ended, as in
a run. Accuracy is rounded to that of 1,000 images, as a real one is.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray
from tabulate import tabulate

from prunebench.agents.bo import BOAgent
from prunebench.agents.parts.surrogate import log_likelihood
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.cost import CostModel

LAYERS = (27, 54)
EVALUATIONS = (100, 200)
STEPS = 5  # of which each figure is the median
CHANNELS, PRESERVE = 32, 0.5
HEADERS = (
    *("layers", "evaluations", "refit s", "acquisition s", "step s", "default refit s", "default / step"),
    *("log likelihood", "of the default", "difference %"),
)


def main() -> None:
    """Search with both numbers of layers and print one table."""
    rows = [row for layers in LAYERS for row in measure(layers)]
    print(tabulate(rows, HEADERS, floatfmt=(*("g",) * 2, *(".3f",) * 3, *(".2f",) * 2, *(".4f",) * 2, ".2f")))
    print(
        f"\nA step of bo (preset modern): refit and acquisition, medians of {STEPS} steps, {torch.get_num_threads()} "
        "threads.\ndefault refit: BoTorch's own fit of the same data with its own settings, from its own start. log "
        "likelihood:\nmarginal, with priors, per observation; the difference is the default's lead, negative where the "
        "refit's is larger."
    )


def measure(layers: int) -> list[list[float]]:
    """A row of figures for each of :data:`EVALUATIONS`."""
    print(f"bo, {layers} layers ...", flush=True)
    info, target = task(layers)
    agent = BOAgent(seed=0)
    agent.setup(info, max(EVALUATIONS))
    budget = Budget.from_info(info)
    rows, times = [], []
    for number in range(max(EVALUATIONS)):
        tell(agent, budget, agent.ask(), target)
        if number + 1 + STEPS > min(e for e in EVALUATIONS if e > number):
            model, *seconds = step(agent)
            times.append(seconds)
        if number + 1 in EVALUATIONS:
            rows.append([layers, number + 1, *compared(model, times)])
            times = []
    return rows


def task(layers: int) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Coefficients of a cost that is a weighted sum of the channel counts, and the ratios ``(D,)`` to be found."""
    rng = np.random.default_rng(layers)
    chosen = np.hstack([np.zeros((layers, 1)), np.eye(layers)])
    constant = np.zeros((layers, layers + 1))
    constant[:, 0] = 1
    cost = CostModel(rng.uniform(1, 4, layers), chosen, constant)
    channels = np.full(layers, CHANNELS)
    limit = PRESERVE * float(cost(channels))
    info = {
        "cost": cost.to_arrays()
        | {"channels": channels, "lower_bound": 0.1, "limit": limit, "fill": True, "mode": "wall", "round_to": 1}
    }
    return info, rng.uniform(0.2, 0.9, layers)


def tell(agent: BOAgent, budget: Budget, policy: NDArray[np.float64], target: NDArray[np.float64]) -> None:
    """Score a policy by its distance to the target."""
    realised = budget.ratios(budget.counts(policy))
    reward = round(float(np.exp(-4 * ((realised - target) ** 2).mean())), 3)
    agent.tell({"requested": policy.tolist(), "realised": realised.tolist(), "reward": reward})


def step(agent: BOAgent) -> tuple[SingleTaskGP, float, float]:
    """One step of the agent that is not played: its model, and the seconds of refit and acquisition."""
    before = agent._surrogate.state
    started = time.perf_counter()
    model = agent._fit()
    fitted = time.perf_counter()
    agent._candidates(model)
    ended = time.perf_counter()
    agent._surrogate.state = before  # the next fit starts where it would have started without this
    return model, fitted - started, ended - fitted


def compared(model: SingleTaskGP, times: list[list[float]]) -> list[float]:
    """Medians of our seconds, the default's, and both log likelihoods."""
    refit, acquisition = (statistics.median(column) for column in zip(*times, strict=True))
    whole = statistics.median(map(sum, times))
    default = SingleTaskGP(*model.train_inputs, model.train_targets[:, None], outcome_transform=None)
    started = time.perf_counter()
    fit_gpytorch_mll(ExactMarginalLogLikelihood(default.likelihood, default))
    seconds = time.perf_counter() - started
    ours, theirs = log_likelihood(model), log_likelihood(default)
    lead = 100 * (theirs - ours) / abs(theirs)
    return [refit, acquisition, whole, seconds, seconds / whole, ours, theirs, lead]


if __name__ == "__main__":
    main()
