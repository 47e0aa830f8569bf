"""The published methods against computations from their definitions, written out here without our code."""

from __future__ import annotations

import copy
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from searches import evaluation
from torch import Tensor, nn

from prunebench.agents.clustered_bo import ClusteredBOAgent
from prunebench.agents.ddpg import AMC
from prunebench.agents.parts.clustering import cut, ward
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.toy import toy_env

CHECKPOINT = os.environ.get("PRUNEBENCH_RESNET56", "")
HISTORY = Path(__file__).with_name("bocr_history.json")


def density_by_definition(weight: Tensor) -> NDArray[np.float64]:
    """Sum of |W| per input channel, shifted by the median; Gaussian kernels of Scott's width on 1,000 points."""
    sums = weight.double().abs().sum(dim=(0, 2, 3)).numpy()
    shifted = sums - np.median(sums)
    width = np.std(shifted, ddof=1) * len(shifted) ** -0.2
    grid = np.linspace(-15, 15, 1000)
    kernels = np.exp(-0.5 * ((grid[:, None] - shifted[None]) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
    return kernels.mean(axis=1)


def ward_by_definition(points: list[NDArray[np.float64]], clusters: int) -> set[frozenset[int]]:
    """Merge the pair whose union adds least to the within-cluster sum of squares, until so many are left."""
    groups = [frozenset([i]) for i in range(len(points))]

    def increase(a: frozenset[int], b: frozenset[int]) -> float:
        centres = [np.mean([points[i] for i in group], axis=0) for group in (a, b)]
        return len(a) * len(b) / (len(a) + len(b)) * float(((centres[0] - centres[1]) ** 2).sum())

    while len(groups) > clusters:
        a, b = min(itertools.combinations(groups, 2), key=lambda pair: increase(*pair))
        groups = [group for group in groups if group not in (a, b)] + [a | b]
    return set(groups)


@pytest.mark.skipif(not CHECKPOINT, reason="PRUNEBENCH_RESNET56 names no checkpoint of a CIFAR ResNet-56")
@pytest.mark.parametrize("clusters", [3, 9])
def test_clusters_of_a_trained_resnet56(clusters: int) -> None:
    from prunebench.envs.networks import models
    from prunebench.envs.pruning.criteria import channel_scores
    from prunebench.envs.pruning.network import PrunableNetwork
    from prunebench.envs.weights.checkpoint import load_weights

    model = models.build("resnet56", 10)
    load_weights(model, CHECKPOINT)
    network = PrunableNetwork(model, torch.zeros(1, 3, 32, 32))
    labels = cut(ward(network.table(channel_scores(network, "consumer-l1", [], 0))), clusters)
    ours = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}

    weights = torch.load(CHECKPOINT, weights_only=True)["state_dict"]
    consumers = [f"layer{stage}.{block}.conv2.weight" for stage in (1, 2, 3) for block in range(9)]
    assert ours == ward_by_definition([density_by_definition(weights[name]) for name in consumers], clusters)


def events_by_definition(history: list[dict[str, Any]], limit: float) -> list[dict[str, float]]:
    """BOCR's gradual roll-back over a whole history, in the order of its code: the counter is looked at, then counts.

    80 / 100 / 20, then 130 / 150 / 20; the first roll-back sets the counter to 0.
    """
    events: list[dict[str, float]] = []
    best, stalled = -np.inf, 0
    for number, one in enumerate(history, start=1):
        stage = len(events)
        earliest, latest = ((80, 100), (130, 150), (np.inf, np.inf))[stage]
        if number >= earliest and (number == latest or stalled >= 20):
            near = [past for past in history[:number] if abs(past["cost"] - limit) <= 0.01]
            elite = sorted(near, key=lambda past: -past["reward"])[:10]
            ratios = [ratio for past in elite for ratio in past["realised"]]
            events.append({"evaluation": number, "stage": stage + 1, "low": min(ratios), "high": max(ratios)})
            stalled = stalled if stage else 0
        stalled = 0 if one["reward"] > best else stalled + 1
        best = max(best, one["reward"])
    return events


@pytest.mark.parametrize("name", ["improving", "stalled early", "stalled late"])
def test_roll_backs_of_recorded_histories(name: str) -> None:
    """Recorded: policies of the toy task and their costs, with rewards that rise, or stand still for a while."""
    history = json.loads(HISTORY.read_text())[name]
    env = toy_env(9, preserve=0.4)
    _, info = env.reset()
    budget = Budget.from_info(info)
    agent = ClusteredBOAgent(seed=0, preset="paper")
    agent.setup(info, 200)
    for past in history:
        agent.tell(evaluation(requested=past["realised"], channels=[], **past))
    limit = budget.limit / float(budget.cost(budget.channels))
    expected = events_by_definition(history, limit)
    assert len(expected) == 2
    assert agent.notes is not None
    assert agent.notes["events"] == expected
    moments = {"improving": (100, 150), "stalled early": (80, 130), "stalled late": (94, 142)}
    assert tuple(event["evaluation"] for event in expected) == moments[name]


class TestAMCUpdate:
    """One update on a buffer of two transitions, an episode of two layers, with nothing but elementary operations."""

    @pytest.fixture(scope="class")
    def model(self) -> AMC:
        model = AMC(toy_env(2), layers=2, warmup=1, seed=0)
        model.learn(2)  # the warm-up's episode: two transitions, no update
        return model

    @staticmethod
    def forward(weights: list[Tensor], inputs: Tensor) -> Tensor:
        """Two hidden layers with ReLU."""
        for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            inputs = torch.relu(inputs @ weight.T + bias)
        return inputs @ weights[-2].T + weights[-1]

    @staticmethod
    def copied(network: nn.Module) -> list[Tensor]:
        return [parameter.detach().clone().requires_grad_() for parameter in network.parameters()]

    @staticmethod
    def adam(weights: list[Tensor], loss: Tensor, rate: float) -> list[Tensor]:
        """Adam's first step: with both moments corrected it is the rate times the gradient over its size."""
        gradients = torch.autograd.grad(loss, weights)
        return [(w - rate * g / (g.abs() + 1e-8)).detach() for w, g in zip(weights, gradients, strict=True)]

    def test_equals_the_hand_computation(self, model: AMC) -> None:
        stored = model.replay_buffer
        assert stored is not None
        assert stored.pos == 2
        observation = torch.as_tensor(stored.observations[:2, 0])
        action = torch.as_tensor(stored.actions[:2, 0])
        last = float(stored.rewards[1, 0])
        assert stored.rewards[:2, 0].tolist() == [last, last]  # the terminal reward on all steps
        assert last > 0
        stored.baseline = 0.3  # type: ignore[attr-defined]
        reward = last - (0.3 + 0.5 * (last - 0.3))

        with torch.no_grad():  # as after many updates: the target networks are not the networks
            for target in (model.actor_target, model.critic_target):
                for parameter in target.parameters():
                    parameter.mul_(1.2)
        networks = [
            model.actor.mu,
            model.critic.q_networks[0],
            model.actor_target.mu,
            model.critic_target.q_networks[0],
        ]
        before = [self.copied(network) for network in networks]
        actor, critic, old_actor, old_critic = before
        then = torch.tanh(self.forward(old_actor, observation[1:]))
        later = self.forward(old_critic, torch.cat([observation[1:], then], 1))
        target_values = torch.stack(
            [reward + later[0, 0], torch.tensor(reward)]
        ).detach()  # discount 1; no later at the end
        values = self.forward(critic, torch.cat([observation, action], 1))[:, 0]
        critic = self.adam(critic, ((values - target_values) ** 2).mean(), 1e-3)
        chosen = torch.tanh(self.forward(actor, observation))
        value = self.forward(critic, torch.cat([observation, chosen], 1)).mean()
        actor = self.adam(actor, -value, 1e-4)
        old_actor = [0.99 * old + 0.01 * new for old, new in zip(old_actor, actor, strict=True)]
        old_critic = [0.99 * old + 0.01 * new for old, new in zip(old_critic, critic, strict=True)]

        trained = copy.deepcopy(stored)
        model.replay_buffer = trained
        trained.sample = lambda *_, **__: trained._get_samples(np.array([0, 1]))  # type: ignore[method-assign]
        model.train(1, 2)
        for network, old, expected in zip(networks, before, (actor, critic, old_actor, old_critic), strict=True):
            self.moved_alike(network, old, expected)

    @staticmethod
    def moved_alike(network: nn.Module, before: list[Tensor], expected: list[Tensor]) -> None:
        """The changes are compared, not the weights: they are as small as the learning rates."""
        ours = torch.cat([(p - b).detach().flatten() for p, b in zip(network.parameters(), before, strict=True)])
        theirs = torch.cat([(e - b).detach().flatten() for e, b in zip(expected, before, strict=True)])
        assert float(theirs.abs().max()) > 5e-5
        # Adam's first step is the gradient's sign: where that is rounding, it may be either.
        agree = (ours - theirs).abs() < 0.02 * theirs.abs().max()
        assert float(agree.float().mean()) > 0.999
