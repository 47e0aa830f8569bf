"""The table of networks, and loading of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envs.errors import TaskError, check_choice

if TYPE_CHECKING:
    from torch import Tensor, nn


def _resnet(depth: int, classes: int) -> nn.Module:
    from envs.resnet import CifarResNet

    return CifarResNet(depth, classes)


def _mobilenetv2(classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018, table 2) from torchvision, with the strides usual for 32 x 32 images."""
    from torchvision.models.mobilenetv2 import MobileNetV2

    settings = [
        [1, 16, 1, 1],
        [6, 24, 2, 1],
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
    model = MobileNetV2(num_classes=classes, inverted_residual_setting=settings)
    stem: Any = model.features[0][0]
    stem.stride = (1, 1)
    return model


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "mobilenetv2": _mobilenetv2,
    "resnet20": partial(_resnet, 20),
    "resnet56": partial(_resnet, 56),
}


def names() -> list[str]:
    """Names of the networks."""
    return sorted(MODELS)


def build(name: str, classes: int) -> nn.Module:
    """The network with ``classes`` outputs and fresh weights from torch's global generator."""
    check_choice("model", name, MODELS)
    return MODELS[name](classes)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a checkpoint into a network: a state dict, plain or under ``state_dict`` or ``model``.

    Nothing in the file is executed (``weights_only=True``); tensors saved on a GPU come to the CPU; the prefix
    ``module.`` (DataParallel) is dropped.

    Raises:
        TaskError: the file is not such a checkpoint, or its keys or shapes are not the network's.
    """
    state = _state_dict(Path(path))
    expected = model.state_dict()
    missing = sorted(set(expected) - set(state) - {key for key in expected if key.endswith("num_batches_tracked")})
    unexpected = sorted(set(state) - set(expected))
    shapes = sorted(key for key in set(state) & set(expected) if state[key].shape != expected[key].shape)
    problems = [
        f"{len(keys)} {what} ({', '.join(map(label, keys[:3]))}{', ...' if len(keys) > 3 else ''})"
        for what, keys, label in (
            ("missing keys", missing, str),
            ("unexpected keys", unexpected, str),
            ("keys of another shape", shapes, lambda k: f"{k} {tuple(state[k].shape)} not {tuple(expected[k].shape)}"),
        )
        if keys
    ]
    if problems:
        raise TaskError(f"weights {str(path)!r} are not of this network: {'; '.join(problems)}")
    model.load_state_dict(state, strict=False)


def _state_dict(path: Path) -> dict[str, Tensor]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(f"weights {str(path)!r} cannot be read as a checkpoint of plain tensors: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise TaskError(f"weights {str(path)!r} hold no state dict")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}
