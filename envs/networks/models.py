"""The networks: a table, torchvision's as ``torchvision:<name>``, and a user's own as ``package.module:function``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks import own, pretrained

if TYPE_CHECKING:
    from torch import nn


def _resnet(depth: int, classes: int) -> nn.Module:
    from prunebench.envs.networks.resnet import CifarResNet

    return CifarResNet(depth, classes)


def _vgg16(classes: int) -> nn.Module:
    from prunebench.envs.networks.vgg import VGG16

    return VGG16(classes)


def _mobilenetv1(classes: int) -> nn.Module:
    from prunebench.envs.networks.mobilenet import MobileNetV1

    return MobileNetV1(classes)


def _mobilenetv2(classes: int) -> nn.Module:
    from prunebench.envs.networks.mobilenet import mobilenetv2

    return mobilenetv2(classes)


MODELS: dict[str, Callable[[int], nn.Module]] = {
    "mobilenetv1": _mobilenetv1,
    "mobilenetv2": _mobilenetv2,
    **{f"resnet{depth}": partial(_resnet, depth) for depth in (20, 32, 44, 56, 110)},
    "vgg16": _vgg16,
}
"""Networks in CIFAR shapes: name, and what builds it with a number of classes."""

PATTERNS = ("torchvision:<name>", "package.module:function")
"""The other forms of names."""

Kind = Literal["table", "torchvision", "own"]


def names() -> list[str]:
    """Names of the table's networks."""
    return sorted(MODELS)


def kind(name: str) -> Kind:
    """Where a network comes from, by the form of its name: ``table``, ``torchvision`` or ``own``."""
    if name.startswith(pretrained.PREFIX):
        return "torchvision"
    return "own" if ":" in name else "table"


def slug(name: str) -> str:
    """The name as part of a file's name."""
    return name.replace(":", "-")


def needs_weights(name: str) -> bool:
    """Whether the user must bring a checkpoint.

    A network of the table is trained on first use and one of torchvision has published weights; a user's own may
    change under the same name, so that nothing we train could be kept for it.
    """
    return kind(name) == "own"


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless there is such a network.

    Neither the table nor a user's own network imports anything here; of the latter only the form of the name and that
    its package exists are checked.
    """
    form = kind(name)
    if form == "torchvision":
        pretrained.check_name(name)
    elif form == "own":
        own.check_name(name)
    else:
        if name not in MODELS and pretrained.PREFIX + name in pretrained.names():
            raise TaskError(f"model {name!r} is unknown: did you mean {pretrained.PREFIX + name!r}?")
        check_choice("model", name, [*MODELS, *PATTERNS])


def version(name: str) -> str | None:
    """The hash of a user's own network's source file, which may change under the same name; None for all others."""
    return own.version(name) if kind(name) == "own" else None


def build(name: str, classes: int) -> nn.Module:
    """The network with ``classes`` outputs and fresh weights from torch's global generator.

    Raises:
        TaskError: there is no such network, or a user's own cannot be built.
    """
    check_name(name)
    form = kind(name)
    if form == "torchvision":
        return pretrained.build(name, classes)
    return own.build(name, classes) if form == "own" else MODELS[name](classes)
