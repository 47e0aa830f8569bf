"""The table of data sets. Nothing of them is imported before one is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunebench.envs.data.imagedata import DataSettings, ImageData


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
        ("data", "image_size", "mean", "std", "classes"),
        ("train", "test"),
    ),
}


def names() -> list[str]:
    """Names of the data sets."""
    return sorted(DATASETS)


def modules() -> list[str]:
    """The modules that hold the data sets."""
    return list(dict.fromkeys(entry.source.partition(":")[0] for entry in DATASETS.values()))


def load(name: str, settings: DataSettings) -> ImageData:
    """A data set with its splits; nothing is read before it is asked for."""
    return resolve_name(DATASETS[name].source)(settings)
