"""The networks: a table, torchvision's as ``torchvision:<name>``, and a user's own as ``package.module:function``."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks import own, pretrained

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """A network of the table.

    Attributes:
        builder: as ``package.module:function``, called with ``arguments`` and the number of classes.
        arguments: the arguments that come first.
    """

    builder: str
    arguments: tuple[Any, ...] = ()

    def build(self, classes: int) -> nn.Module:
        """The network with ``classes`` outputs."""
        return resolve_name(self.builder)(*self.arguments, classes)


MODELS = {
    "mobilenetv1": Network("prunebench.envs.networks.mobilenet:MobileNetV1"),
    "mobilenetv2": Network("prunebench.envs.networks.mobilenet:mobilenetv2"),
    **{
        f"resnet{depth}": Network("prunebench.envs.networks.resnet:CifarResNet", (depth,))
        for depth in (20, 32, 44, 56, 110)
    },
    "vgg16": Network("prunebench.envs.networks.vgg:VGG16"),
}
"""Networks in CIFAR shapes."""

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
    return own.build(name, classes) if form == "own" else MODELS[name].build(classes)
