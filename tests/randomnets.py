"""Networks of the table with random weights and random, not trivial, batch-norm statistics."""

from __future__ import annotations

import torch
from torch import nn

from envs import models


def random_network(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = models.build(name, 10).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    return model
