"""A task: network, weights, data, splits, and how policies are scored. Checking one is cheap and imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.envs.choices import CRITERIA, DEVICES, RECONSTRUCTIONS, SCOPES
from prunebench.envs.data import datasets
from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models
from prunebench.envs.tasks.options import check_types, normalise, option, options

if TYPE_CHECKING:
    from prunebench.envs.data.imagedata import ImageData


@dataclass(frozen=True)
class TaskConfig:
    """Everything that decides what a policy scores; what an option means stands with it, and None is its default."""

    model: str = option(
        "mobilenetv2",
        "The network: see `prunebench list models`; torchvision:<name>; timm:<name>; your own package.module:function.",
        "NAME",
    )
    weights: str | None = option(
        None,
        "Checkpoint of the dense network; a network of your own needs one.  [default: published or trained]",
        "FILE",
    )
    dataset: str = option(
        "digits",
        "The data set: see `prunebench list datasets`; digits is embedded; your own arrays as package.module:function.",
        "DATASET",
    )
    data: str | None = option(
        None,
        "Where the images are (needed by imagefolder and imagenet; cifar is downloaded unless it is there).",
        "FOLDER",
    )
    image_size: int | None = option(None, "Pixels per side of an image (for imagefolder and imagenet).", "N", least=1)
    mean: tuple[float, ...] | None = option(
        None, "Means of the colours that normalise images, as 0.5,0.5,0.5 (for cifar and imagefolder).", "R,G,B"
    )
    std: tuple[float, ...] | None = option(
        None, "Standard deviations of the colours that normalise images (for cifar and imagefolder).", "R,G,B"
    )
    classes: tuple[str, ...] | None = option(
        None,
        "Class folders in the order of the network's outputs, separated by commas (for imagefolder).",
        "NAMES",
    )
    flips: bool | None = option(
        None, "Mirror images in training, or not, as digits and text need (for imagefolder).  [default: flips]"
    )
    split_seed: int = option(
        0, "Seed that divides images into calibration, reward and test split.", "N", least=0, most=2**32 - 1
    )
    reward_images: int | None = option(
        None, "Number of images that score a policy during the search.  [default: the data set's own]", "N", least=1
    )
    calibration_images: int = option(  # AMC: 60 batches of 50
        3000, "Most images that the least-squares reconstruction is fitted on.", "N", least=1
    )
    confirm: int = option(
        0,
        "Score the K best policies of a run again, on as many fresh images as the reward split has, which are set "
        "aside from the training images; the best on both counts. They are charged: the search has K evaluations less.",
        "K",
        least=0,
    )
    batch_size: int = option(250, "Images per forward pass.", "N", least=1)  # it changes the last bits of an accuracy
    scope: str = option(
        "inner",
        "Channels that may be pruned: those inside blocks, or also those that shortcuts tie together.",
        choices=SCOPES,
    )
    exclude: tuple[str, ...] | None = option(
        None, "Prunable layers that stay whole, by name, separated by commas.", "LAYERS"
    )
    importance: str = option(
        "consumer-l1",
        "Criterion that says which channels of a layer are kept first; see `prunebench list options`.",
        choices=CRITERIA,
    )
    reconstruction: str = option(
        "least-squares",
        "How the remaining weights are adapted before a policy is scored; see `prunebench list options`.",
        choices=RECONSTRUCTIONS,
    )
    device: str = option("cpu", "Where networks run.", choices=DEVICES)
    tf32: bool = option(False, "Let a GPU round products to TensorFloat-32: faster, less exact.")

    def __post_init__(self) -> None:
        normalise(self)


def load_data(task: TaskConfig) -> ImageData:
    """The task's data set with its splits; nothing is read before it is asked for."""
    from prunebench.envs.data.imagedata import DataSettings

    same = {field.name: getattr(task, field.name) for field in fields(DataSettings) if hasattr(task, field.name)}
    folder = None if task.data is None else Path(task.data)
    settings = DataSettings(**same, folder=folder, preprocessing=models.preprocessing(task.model))
    return datasets.load(task.dataset, settings)


def check_task(task: TaskConfig) -> None:
    """Raise TaskError for whatever can be seen to be wrong without reading weights or images."""
    check_untrained(task)
    if task.weights is not None and not Path(task.weights).is_file():
        wrong = "is a folder, expected a file" if Path(task.weights).is_dir() else "no such file"
        raise TaskError(f"weights {task.weights!r}: {wrong}")
    if task.weights is None and models.needs_weights(task.model):
        raise TaskError(
            f"model {task.model!r} needs --weights, a checkpoint of the dense network; `prunebench train` makes one"
        )


def check_untrained(task: TaskConfig) -> None:
    """The same of a task whose network has no weights yet."""
    check_types(task)
    models.check_name(task.model)
    datasets.check_name(task.dataset)
    for name, known in options(task).items():
        known.check(name, getattr(task, name))
    if task.tf32 and task.device != "cuda":
        raise TaskError(f"tf32 is a GPU's rounding: leave it out, or name --device cuda, not {task.device!r}")
    _refuse_fixed_options(task)
    _check_folder(task)
    _check_normalisation(task)


def _check_folder(task: TaskConfig) -> None:
    known = datasets.known(task.dataset)
    splits, expected = known.folders, known.expected
    if task.data is None:
        if splits:
            raise TaskError(f"dataset {task.dataset!r} needs --data, a folder with {expected}")
        return
    if Path(task.data).exists() and not Path(task.data).is_dir():
        raise TaskError(f"data {task.data!r}: expected a folder")
    for folder in (Path(task.data), *(Path(task.data) / split for split in splits)):
        if splits and not folder.is_dir():
            raise TaskError(f"data {str(folder)!r}: no such folder; expected {expected} in --data")


def _check_normalisation(task: TaskConfig) -> None:
    for name, values in (("mean", task.mean), ("std", task.std)):
        if values is not None and (len(values) != 3 or not all(math.isfinite(v) for v in values)):
            raise TaskError(f"{name} {','.join(map(str, values))}: expected three numbers")
    if task.std is not None and min(task.std) <= 0:
        raise TaskError(f"std {','.join(map(str, task.std))}: expected positive numbers")


def _refuse_fixed_options(task: TaskConfig) -> None:
    free = datasets.known(task.dataset).options
    for name in (name for entry in datasets.DATASETS.values() for name in entry.options):
        if getattr(task, name) is not None and name not in free:
            raise TaskError(f"dataset {task.dataset!r} fixes {name.replace('_', '-')}: leave the option out")
