"""Networks with random weights, biases and batch-norm statistics, at every depth of a size that a test can see."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prunebench.envs.networks import models


def random_network(name: str, seed: int = 0, classes: int = 10) -> nn.Module:
    """Any network of :mod:`prunebench.envs.networks.models`, in evaluation mode.

    Random images go through it. On the way every convolution and linear layer is scaled to outputs of standard
    deviation 1, and every batch norm takes statistics that are near, not at, those of its inputs.
    """
    torch.manual_seed(seed)
    model = models.build(name, classes).eval()
    sizes = (96,) if models.kind(name) == "torchvision" else (16, 32)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        _randomise(model)
        scaling = [layer.register_forward_hook(_scale) for layer in layers]
        measuring = [norm.register_forward_pre_hook(_measure) for norm in norms]
        for size in sizes:
            model(torch.randn(16, 3, size, size))
            while scaling:  # the first images scale, all of them count in the statistics
                scaling.pop().remove()
        for hook in measuring:
            hook.remove()
    return model


def _randomise(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale"):  # ConvNeXt's blocks start at a millionth of their size
            parameter.uniform_(0.5, 1.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.2)
        elif isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            module.bias.normal_(0, 0.1)


def _scale(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    size = output.std().clamp(min=1e-6)
    for parameter in layer.parameters():
        parameter.div_(size)
    return output / size


def _measure(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
    var, mean = torch.var_mean(inputs[0], (0, 2, 3))
    var = var.lerp(var.mean(), 0.5)  # small feature maps give some channels next to no variance
    mean += 0.2 * torch.randn_like(mean) * var.sqrt()
    var *= torch.empty_like(var).uniform_(0.7, 1.4)
    share = 1 / (1 + int(norm.num_batches_tracked))  # the mean over all images so far
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(var, share)
    norm.num_batches_tracked += 1
