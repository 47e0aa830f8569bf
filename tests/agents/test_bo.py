"""The presets of vanilla BO: their models, what the models see, and where they propose."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from botorch.acquisition.analytic import ExpectedImprovement, LogExpectedImprovement
from botorch.models import SingleTaskGP
from botorch.optim.optimize import optimize_acqf
from gpytorch.kernels import MaternKernel, RBFKernel
from gpytorch.priors import GammaPrior, LogNormalPrior

from prunebench.agents.bo import BOAgent
from prunebench.agents.clustered_bo import ClusteredBOAgent
from prunebench.agents.parts.proposal import log_expected_improvement, propose_in_box
from prunebench.agents.parts.surrogate import PRESETS, PresetName, Surrogate, in_log_space, log_likelihood, tolerant
from prunebench.envs.environment.budget import Budget
from prunebench.envs.environment.toy import toy_env

LAYERS = 6


@cache
def searched(preset: PresetName, evaluations: int = 14) -> BOAgent:
    """An agent after a search, to be looked at and not changed."""
    agent = BOAgent(seed=0, preset=preset)
    agent.search(toy_env(LAYERS, preserve=0.4), evaluations)
    return agent


def model_of(preset: str, n: int = 12) -> SingleTaskGP:
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.uniform(0.1, 1, (n, LAYERS)))
    y = torch.as_tensor(rng.normal(size=(n, 1)))
    return PRESETS[preset].build(x, (y - y.mean()) / y.std())


def test_the_modern_model_is_botorchs_default() -> None:
    kernel = model_of("modern").covar_module
    assert isinstance(kernel, RBFKernel)
    assert kernel.ard_num_dims == LAYERS
    assert isinstance(kernel.lengthscale_prior, LogNormalPrior)


def test_the_model_of_2021_has_gamma_priors() -> None:
    model = model_of("botorch2021")
    matern = model.covar_module.base_kernel
    assert isinstance(matern, MaternKernel)
    assert (matern.nu, matern.ard_num_dims) == (2.5, LAYERS)
    for prior, (concentration, rate) in (
        (matern.lengthscale_prior, (3.0, 6.0)),
        (model.covar_module.outputscale_prior, (2.0, 0.15)),
    ):
        assert isinstance(prior, GammaPrior)
        assert (float(prior.concentration), float(prior.rate)) == pytest.approx((concentration, rate))
    assert isinstance(model.likelihood.noise_covar.noise_prior, GammaPrior)


def test_gpyopts_model_is_isotropic_without_priors_and_without_a_mean() -> None:
    model = model_of("gpyopt2021")
    matern = model.covar_module.base_kernel
    assert isinstance(matern, MaternKernel)
    assert matern.nu == 2.5
    assert matern.lengthscale.numel() == 1
    assert list(model.named_priors()) == []
    assert float(model.mean_module(torch.ones(1, LAYERS)).abs().max()) == 0
    assert PRESETS["gpyopt2021"].restarts == 4
    assert PRESETS["gpyopt2021"].jitter == 0.01


@pytest.mark.parametrize("preset", PRESETS)
def test_other_coordinates_are_the_same_model(preset: str) -> None:
    """The same hyperparameters, likelihood and predictions; what a fit moves are their logarithms."""
    plain, logarithmic = model_of(preset), in_log_space(model_of(preset))
    assert log_likelihood(logarithmic) == pytest.approx(log_likelihood(plain), abs=1e-5)
    points = torch.rand(5, LAYERS, dtype=torch.float64)
    torch.testing.assert_close(plain.posterior(points).mean, logarithmic.posterior(points).mean, rtol=1e-4, atol=1e-6)
    before, after = logarithmic.likelihood.noise.clone(), logarithmic.likelihood
    raw = after.noise_covar.raw_noise
    raw.data += np.log(2)
    least = after.noise_covar.raw_noise_constraint.lower_bound
    torch.testing.assert_close(after.noise - least, 2 * (before - least))


def test_restarts_keep_the_likeliest_and_start_from_the_generator() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.1, 1, (30, 3))
    y = np.sin(9 * x[:, 0]) + x[:, 1]
    fits = [Surrogate(PRESETS["gpyopt2021"], np.random.default_rng(seed)).fit(x, y) for seed in (0, 0)]
    assert log_likelihood(fits[0]) == log_likelihood(fits[1])
    alone = Surrogate(dataclasses.replace(PRESETS["gpyopt2021"], restarts=0), rng).fit(x, y)
    assert log_likelihood(fits[0]) >= log_likelihood(alone) - 1e-6


def test_log_expected_improvement_equals_botorchs() -> None:
    model = Surrogate(PRESETS["modern"], np.random.default_rng(0)).fit(*_data())
    points = torch.rand(200, LAYERS, dtype=torch.float64)
    posterior = model.posterior(points)
    for best in (-2.0, 0.0, 5.0, 1e4, 1e7):
        ours = log_expected_improvement(posterior.mean.detach()[:, 0], posterior.variance.detach()[:, 0].sqrt(), best)
        theirs = LogExpectedImprovement(model, best_f=best)(points[:, None]).detach().numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 1, (25, LAYERS))
    return x, ((x - 0.6) ** 2).sum(axis=1)


def test_the_box_proposal_is_better_than_random_points_and_repeatable() -> None:
    agent = searched("gpyopt2021")
    model = agent._fit()
    with tolerant():
        points = [propose_in_box(model, agent._space, 0.01, np.random.default_rng(seed)) for seed in (3, 3)]
    assert points[0].tolist() == points[1].tolist()
    assert (points[0] >= 0.1).all()
    assert (points[0] <= 1.0).all()
    acquisition = ExpectedImprovement(model, best_f=model.train_targets.max() + 0.01)
    others = torch.as_tensor(agent._space.sobol(2000, 1))[:, None]
    with torch.no_grad(), tolerant():
        assert float(acquisition(torch.as_tensor(points[0])[None])) >= 0.98 * float(acquisition(others).max())


def test_the_box_is_climbed_from_the_best_five_of_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = searched("gpyopt2021")
    taken: list[torch.Tensor] = []

    def watched(acquisition: Any, bounds: Any, **options: Any) -> Any:
        taken.append(options["batch_initial_conditions"])
        return optimize_acqf(acquisition, bounds, **options)

    monkeypatch.setattr("prunebench.agents.parts.proposal.optimize_acqf", watched)
    model = agent._fit()
    with tolerant():
        propose_in_box(model, agent._space, 0.01, np.random.default_rng(3))
    with tolerant(), torch.no_grad():
        drawn = torch.as_tensor(np.random.default_rng(3).uniform(0.1, 1.0, (1000, 1, LAYERS)))
        best_yet = model.posterior(model.train_inputs[0]).mean.max()
        values = ExpectedImprovement(model, best_f=best_yet + 0.01)(drawn)
    torch.testing.assert_close(taken[0], drawn[values.argsort(descending=True)[:5]])


@pytest.mark.parametrize("off", [0.0, 1e-3])
def test_an_ascent_to_an_evaluated_point_counts_by_its_start(monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    agent = searched("gpyopt2021")
    model = agent._fit()
    ends, starts = model.train_inputs[0][:5, None] * (1 - off), []

    def climbed(acquisition: Any, bounds: Any, **options: Any) -> Any:
        starts.extend(options["batch_initial_conditions"][:, 0].tolist())
        return ends, None

    monkeypatch.setattr("prunebench.agents.parts.proposal.optimize_acqf", climbed)
    with tolerant():
        point = propose_in_box(model, agent._space, 0.01, np.random.default_rng(0))
    reached = ends.clamp(0.1, 1.0)[:, 0].tolist()
    assert point.tolist() in (reached if off else starts)


@pytest.mark.parametrize("agent", [BOAgent(seed=0, preset="gpyopt2021"), ClusteredBOAgent(seed=0, preset="paper")])
def test_gpyopts_design_is_the_plain_sequence_whatever_the_seed(agent: BOAgent) -> None:
    agent.setup(toy_env(3, preserve=0.4).reset()[1], 200)
    assert len(agent._design) == 10
    unit = (agent._design - 0.1) / 0.9
    assert unit[:3, :2] == pytest.approx(np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]))
    assert "alike for all seeds" not in str(agent.notes)
    agent.setup(toy_env(3, preserve=0.4).reset()[1], 3)
    assert agent.notes is not None
    assert agent.notes["remarks"][0] == "all 3 evaluations are the initial design: alike for all seeds"


def test_restarts_draw_the_noise_through_a_logistic() -> None:
    surrogate = Surrogate(PRESETS["gpyopt2021"], np.random.default_rng(0))
    model = in_log_space(model_of("gpyopt2021"))
    noises, lengths = [], []
    for _ in range(200):
        surrogate._randomise(model)
        noises.append(model.likelihood.noise.item())
        lengths.append(model.covar_module.base_kernel.lengthscale.item())
    assert np.median(noises) == pytest.approx(5e5, rel=0.2)
    assert np.median(lengths) == pytest.approx(np.log(2), rel=0.2)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_model_sees_and_where_it_proposes(preset: PresetName) -> None:
    agent = searched(preset)
    requested, realised = np.array(agent._requested), np.array(agent._realised)
    on_budget = PRESETS[preset].on_budget
    np.testing.assert_array_equal(agent._inputs(), realised if on_budget else requested)
    assert np.allclose(requested, realised, atol=1e-6) == on_budget
    budget = Budget.from_info(toy_env(LAYERS, preserve=0.4).reset()[1])
    costs = budget.cost(requested * budget.channels)
    if on_budget:
        assert (costs <= budget.limit + 1e-3).all()
    else:  # anywhere in the box: the wall cuts what is too much
        assert costs.max() > budget.limit
        assert np.ptp(costs) > 0.1 * budget.limit


def test_unknown_presets_are_named() -> None:
    with pytest.raises(ValueError, match="preset 'modem': expected one of modern, botorch2021, gpyopt2021"):
        BOAgent(seed=0, preset="modem")  # type: ignore[arg-type]
