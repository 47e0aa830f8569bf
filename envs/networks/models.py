"""The networks: a table, torchvision's and timm's as ``torchvision:<name>`` and ``timm:<name>``, and a user's own.

A user's own is named as ``package.module:function``, or by an entry point of its package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.networks import own, pretrained, timm_networks

if TYPE_CHECKING:
    from torch import nn

    from prunebench.envs.data.preprocessing import Preprocessing


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

PATTERNS = {
    "torchvision:<name>": "torchvision's classification networks, with published weights",
    "timm:<name>": 'timm\'s networks, many with published weights; needs pip install "prunebench[timm]"',
    "package.module:function": "your own, called with num_classes; needs --weights, which `prunebench train` makes",
}
"""The other forms of names, and what they stand for."""

_LIBRARIES: dict[str, ModuleType] = {"torchvision": pretrained, "timm": timm_networks}
PREFIXES = tuple(library.PREFIX for library in _LIBRARIES.values())
"""How the names begin of networks that come from a library."""

Kind = Literal["table", "torchvision", "timm", "own"]


def names() -> list[str]:
    """Names of the table's networks."""
    return sorted(MODELS)


def kind(name: str) -> Kind:
    """Where a network comes from, by its name: ``table``, ``torchvision``, ``timm`` or ``own``."""
    if name.startswith(pretrained.PREFIX):
        return "torchvision"
    if name.startswith(timm_networks.PREFIX):
        return "timm"
    return "own" if ":" in name or (name not in MODELS and name in registered()) else "table"


def registered() -> list[str]:
    """Names of the networks that other packages bring, in alphabetical order.

    Raises:
        TaskError: a name is one of the table, or not well formed.
    """
    found = own.registered()
    for name in MODELS:
        if name in found:
            raise TaskError(f"model {name!r} ({found[name].value}): the table has another one of this name")
    return list(found)


def register(name: str, function: Callable[..., nn.Module]) -> str:
    """Give a network of your own a name, for the rest of this process; then ``bench(model=name)`` knows it.

    What is recorded is the function's own name, as ``mynets:small``: by it the processes of runs, and whoever checks
    the results later, import the function. An installed package registers its networks for good, by entry points in
    the group ``prunebench.networks``.

    Args:
        name: made of letters, digits, '_', '-' and '.'.
        function: called as ``function(num_classes=...)`` it returns the network; it stands at the top of a file.

    Returns:
        The function's own name, which stands for the network everywhere.

    Raises:
        TaskError: the name is another network's, or no process can import the function.
    """
    if name in MODELS:
        raise TaskError(f"model {name!r}: the table has another one of this name")
    return own.register(name, function)


def named(model: Any) -> Any:
    """The name that is recorded of a network: of a function its own, also where it was registered here.

    Anything else is returned as it is.

    Raises:
        TaskError: no process can import the function.
    """
    return own.named(model)


def publisher(name: str) -> ModuleType | None:
    """What knows the published weights of a network (``fetch``, ``preprocessing``); None where there are none."""
    return _LIBRARIES.get(kind(name))


def preprocessing(name: str) -> Preprocessing | None:
    """The preparation of images that the published weights expect; None for networks that have none."""
    found = publisher(name)
    return None if found is None else found.preprocessing(name)


def slug(name: str) -> str:
    """The name as part of a file's name."""
    return name.replace(":", "-")


def needs_weights(name: str) -> bool:
    """Whether the user must bring a checkpoint.

    A network of the table is trained on first use and one of a library has published weights; a user's own may change
    under the same name, so that nothing we train could be kept for it.
    """
    return kind(name) == "own"


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless there is such a network.

    Neither the table nor a user's own network imports anything here; of the latter only the form of the name and that
    its package exists are checked.
    """
    form = kind(name)
    if form == "own":
        own.check_name(name)
    elif form != "table":
        _LIBRARIES[form].check_name(name)
    else:
        if name not in MODELS and pretrained.PREFIX + name in pretrained.names():
            raise TaskError(f"model {name!r} is unknown: did you mean {pretrained.PREFIX + name!r}?")
        check_choice("model", name, [*MODELS, *registered(), *PATTERNS])


def version(name: str) -> str | None:
    """The hash of the file of a user's own network ``package.module:function``; None for all others.

    Experiments of older versions have it in their manifests. It says nothing of what that file imports.
    """
    return own.version(name) if kind(name) == "own" and ":" in name else None


def build(name: str, classes: int) -> nn.Module:
    """The network with ``classes`` outputs and fresh weights from torch's global generator.

    Raises:
        TaskError: there is no such network, or a user's own cannot be built.
    """
    check_name(name)
    form = kind(name)
    if form == "table":
        return MODELS[name].build(classes)
    return own.build(name, classes) if form == "own" else _LIBRARIES[form].build(name, classes)
