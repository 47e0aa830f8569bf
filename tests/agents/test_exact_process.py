"""The short way to likelihood and posterior against GPyTorch's own, for every model that is fitted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gpytorch.kernels import MaternKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.agents.parts.exact_process import ExactProcess
from prunebench.agents.parts.surrogate import PRESETS, Build, in_log_space, modern
from prunebench.agents.turbo import trust_region_model

MODELS = (*(preset.build for preset in PRESETS.values()), trust_region_model)


@given(st.sampled_from(MODELS), st.integers(2, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_numbers_and_slopes_are_gpytorchs(build: Build, n: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = torch.as_tensor(rng.uniform(0.1, 1.0, (n, d)).round(2))  # some of them twice
    model = in_log_space(build(x, torch.as_tensor(rng.normal(size=(n, 1)))))
    raw = list(model.parameters())
    for parameter in raw:
        parameter.data += torch.as_tensor(rng.normal(0.0, 0.3, tuple(parameter.shape)))
    model.train()
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    theirs, ours = mll(model(x), model.train_targets), ExactProcess(model).log_likelihood()
    assert float(ours) == pytest.approx(float(theirs), rel=1e-7, abs=1e-7)
    for one, other in zip(torch.autograd.grad(ours, raw), torch.autograd.grad(theirs, raw), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    model.eval()
    points = torch.as_tensor(rng.uniform(0.1, 1.0, (5, d)))
    with torch.no_grad():
        posterior = model.posterior(points)
    mean, variance = ExactProcess(model).predict(points)
    torch.testing.assert_close(mean, posterior.mean[:, 0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, posterior.variance[:, 0], rtol=1e-5, atol=1e-7)


def test_another_kernel_is_refused() -> None:
    model = modern(torch.rand(3, 2, dtype=torch.float64), torch.rand(3, 1, dtype=torch.float64))
    model.covar_module = MaternKernel(nu=1.5)
    with pytest.raises(TypeError, match="MaternKernel: expected"):
        ExactProcess(model)
