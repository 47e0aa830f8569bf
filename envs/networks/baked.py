"""Takes off a network what stands between it and its layers: wrappers, weights that are computed anew, lazy shapes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize, prune

from prunebench.envs.errors import TaskError


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside of ``torch.compile`` and of ``DataParallel``; compiled modules run eagerly again.

    Raises:
        TaskError: it is a TorchScript module, which has no layers that could be exchanged.
    """
    while isinstance(inner := getattr(model, "_orig_mod", None) or _parallel(model), nn.Module):
        model = inner
    if isinstance(model, torch.jit.ScriptModule):
        raise TaskError("it is a TorchScript module: expected the torch.nn.Module that it was made from")
    for module in model.modules():
        module._compiled_call_impl = None
    return model


def _parallel(model: nn.Module) -> nn.Module | None:
    return model.module if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel) else None


def example_image(size: int) -> Tensor:
    """One image ``(1, 3, size, size)`` of fixed noise: networks may do something else with one that is black."""
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def materialised(model: nn.Module, example: Tensor) -> nn.Module:
    """The network, with shapes for the parameters of lazy modules: an image like ``example`` goes through it."""
    if any(isinstance(module, LazyModuleMixin) for module in model.modules()):
        model.eval()
        with torch.no_grad():
            model(example)
    return model


def baked(model: nn.Module) -> nn.Module:
    """The network, with every weight a parameter of its own: it computes the same.

    Parametrisations (weight and spectral norm among them, in their old form too) and masks are computed once and taken
    off; batch norms that talk to other processes become plain ones.
    """
    for parameter in model.parameters():
        if parameter.untyped_storage().nbytes() > parameter.nbytes:  # a view of all weights in one piece of memory
            parameter.data = parameter.data.clone()
    model.eval()  # spectral norm goes on a step in every call of training
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        _take_off_hooks(module)
    plain = {module: _on_its_own(module) for module in model.modules() if isinstance(module, nn.SyncBatchNorm)}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in plain:
                setattr(parent, name, plain[child])
    return model


def _take_off_hooks(module: nn.Module) -> None:
    """Old weight norm, old spectral norm and masks compute a weight before every call."""
    for hook in list(module._forward_pre_hooks.values()):
        name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, name)  # type: ignore[no-untyped-call]
        elif type(hook).__module__ == "torch.nn.utils.weight_norm":
            nn.utils.remove_weight_norm(module, str(name))
        elif type(hook).__module__ == "torch.nn.utils.spectral_norm":
            nn.utils.remove_spectral_norm(module, str(name))


def _on_its_own(norm: nn.SyncBatchNorm) -> nn.BatchNorm2d:
    plain = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    plain.load_state_dict(norm.state_dict())
    return plain.eval()
