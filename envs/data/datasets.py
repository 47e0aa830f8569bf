"""The data sets: a table, those of other packages, and a user's own arrays. Nothing is imported before it is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeGuard

from prunebench.envs import importing
from prunebench.envs.errors import TaskError, check_choice

if TYPE_CHECKING:
    from prunebench.envs.data.imagedata import DataSettings, ImageData

GROUP = "prunebench.datasets"
"""Entry points of other packages: a subclass of ``ImageData``, or a function as a user's own."""
PATTERN = "package.module:function"
"""The form of the name of a user's own: a function without arguments, see :mod:`prunebench.envs.data.arrays`."""

_OWN = importing.Named("dataset", "mydata:load", "function")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set before it is imported; the rest stands in its class.

    Attributes:
        source: its :class:`prunebench.envs.data.imagedata.ImageData`, as ``package.module:Class``.
        options: options of a task that it leaves to the user.
        folders: folders of class folders that ``data`` must hold; where there are any, ``data`` must be given.
    """

    source: str
    options: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The folders as one would write them."""
        return " and ".join(f"{folder}/<class>/" for folder in self.folders)


DATASETS = {
    "digits": DataSet("prunebench.envs.data.digits:Digits"),
    "cifar10": DataSet("prunebench.envs.data.cifar:Cifar10", ("data", "mean", "std")),
    "cifar100": DataSet("prunebench.envs.data.cifar:Cifar100", ("data", "mean", "std")),
    "imagenet": DataSet("prunebench.envs.data.imagenet:ImageNetData", ("data", "image_size"), ("train", "val")),
    "imagefolder": DataSet(
        "prunebench.envs.data.imagefolder:ImageFolderData",
        ("data", "image_size", "mean", "std", "classes", "flips"),
        ("train", "test"),
    ),
}
ARRAYS = DataSet("prunebench.envs.data.arrays:ArrayData", ("mean", "std", "flips"))
"""What every function of a user's own leaves open."""


@lru_cache(maxsize=1)
def registered() -> dict[str, EntryPoint]:
    """The entry points of other packages by their names.

    Raises:
        TaskError: a name is taken, or not made of letters, digits, '_', '-' and '.'.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        if not _NAME.fullmatch(entry.name):
            raise TaskError(f"dataset {entry.name!r} ({entry.value}): expected letters, digits, '_', '-' and '.'")
        if entry.name in DATASETS or found.get(entry.name, entry) != entry:
            raise TaskError(f"dataset {entry.name!r} ({entry.value}): another one is registered under this name")
        found[entry.name] = entry
    return found


def names() -> list[str]:
    """Names of the data sets."""
    return sorted([*DATASETS, *registered()])


def modules() -> list[str]:
    """The modules that hold the data sets of the table, and the class of a user's own."""
    return list(dict.fromkeys(entry.source.partition(":")[0] for entry in (*DATASETS.values(), ARRAYS)))


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless there is such a data set; imports nothing."""
    if ":" in name:
        _OWN.check(name)
    elif name not in DATASETS:
        check_choice("dataset", name, [*names(), PATTERN])


def name_of(function: Callable[..., Any]) -> str:
    """The name of a user's own function, by which other processes import it; raises TaskError where there is none."""
    return _OWN.name_of(function)


def known(name: str) -> DataSet:
    """What is known of a data set; one of another package is imported for it.

    Raises:
        TaskError: it cannot be imported.
    """
    if name in DATASETS:
        return DATASETS[name]
    found = None if ":" in name else _registered(name)
    return DataSet(registered()[name].value, found.options) if found and _is_class(found) else ARRAYS


def load(name: str, settings: DataSettings) -> ImageData:
    """A data set with its splits; no file is read before it is asked for, but a user's function is called.

    Raises:
        TaskError: it cannot be imported, or the function does not return what is expected.
    """
    if name in DATASETS:
        return resolve_name(DATASETS[name].source)(settings)
    found = _OWN.load(name) if ":" in name else _registered(name)
    return found(settings) if _is_class(found) else resolve_name(ARRAYS.source)(name, found, settings)


def _is_class(found: Callable[..., Any]) -> TypeGuard[type[ImageData]]:
    from prunebench.envs.data.imagedata import ImageData

    return isinstance(found, type) and issubclass(found, ImageData)


def _registered(name: str) -> Callable[..., Any]:
    entry = registered()[name]
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise TaskError(f"dataset {name!r} ({entry.value}) cannot be imported: {importing.reason(error)}") from error
