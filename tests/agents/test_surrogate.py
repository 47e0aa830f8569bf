"""The warm-started refit: as good as a default fit, bounded, and hard to break."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray

from prunebench.agents.parts.surrogate import PRESETS, Surrogate, log_likelihood

Data = tuple[NDArray[np.float64], NDArray[np.float64]]


def data(n: int, d: int, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 1.0, (n, d))
    return x, np.exp(-4 * ((x - rng.uniform(0.2, 0.9, d)) ** 2).mean(axis=1))


def surrogate_of(preset: str = "modern") -> Surrogate:
    return Surrogate(PRESETS[preset], np.random.default_rng(0))


def test_refits_are_as_likely_as_a_default_fit() -> None:
    x, y = data(50, 8)
    surrogate = surrogate_of()
    for n in range(30, 51):
        model = surrogate.fit(x[:n], y[:n])
    standardised = torch.as_tensor((y - y.mean()) / y.std(ddof=1))[:, None]
    default = SingleTaskGP(torch.as_tensor(x), standardised, outcome_transform=None)
    fit_gpytorch_mll(ExactMarginalLogLikelihood(default.likelihood, default))
    assert log_likelihood(model) > log_likelihood(default) - 0.02


def test_it_predicts() -> None:
    x, y = data(80, 4)
    model = surrogate_of().fit(x[:60], y[:60])
    with torch.no_grad():
        predicted = model.posterior(torch.as_tensor(x[60:])).mean[:, 0].numpy()
    assert np.corrcoef(predicted, y[60:])[0, 1] > 0.9
    assert predicted.dtype == np.float64


def test_targets_are_standardised_afresh_at_each_fit() -> None:
    x, y = data(12, 3)
    surrogate = surrogate_of()
    for n, scale in ((6, 1.0), (12, 100.0)):
        targets = surrogate.fit(x[:n], scale * y[:n]).train_targets
        assert float(targets.mean()) == pytest.approx(0.0, abs=1e-9)
        assert float(targets.std()) == pytest.approx(1.0)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_duplicates_and_constant_rewards(n: int) -> None:
    x = np.tile(np.full((1, 5), 0.4), (n, 1))
    surrogate = surrogate_of()
    for rewards in (np.full(n, 0.3), np.full(n, 0.3)):
        model = surrogate.fit(x, rewards)
        assert torch.isfinite(model.posterior(torch.rand(3, 5, dtype=torch.float64)).mean).all()


def test_a_refit_starts_where_the_last_one_ended_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, list[float]]] = []

    def spy(mll: ExactMarginalLogLikelihood, *moved: Any, options: dict[str, int], **others: Any) -> None:
        lengths = mll.model.covar_module.lengthscale.detach().flatten().tolist()
        seen.append((options["maxiter"], lengths))
        fit_gpytorch_mll_scipy(mll, *moved, options=options, **others)

    monkeypatch.setattr("prunebench.agents.parts.surrogate.fit_gpytorch_mll_scipy", spy)
    x, y = data(20, 3)
    surrogate = surrogate_of()
    first = surrogate.fit(x[:19], y[:19]).covar_module.lengthscale.detach().flatten().tolist()
    surrogate.fit(x, y)
    assert [iterations for iterations, _ in seen] == [200, 20]
    assert seen[1][1] == pytest.approx(first)
    assert seen[0][1] != pytest.approx(first)
