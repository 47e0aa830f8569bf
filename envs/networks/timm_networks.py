"""timm's networks for ImageNet, as ``timm:<name>`` or ``timm:<name>.<tag>``, and the weights published for them."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs import cache, cache_files, extras
from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError, did_you_mean
from prunebench.envs.importing import reason

if TYPE_CHECKING:
    from torch import nn

PREFIX = "timm:"


@lru_cache(maxsize=1)
def names() -> list[str]:
    """timm's networks, with the prefix: every name, and every name with a tag of published weights.

    Raises:
        TaskError: timm is not installed.
    """
    timm = _timm()
    return [PREFIX + bare for bare in sorted({*timm.list_models(), *timm.list_pretrained()})]


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless timm is installed and has this network."""
    extras.check(f"model {name!r}", "timm")
    if name not in names():
        hint = did_you_mean(name, names())
        raise TaskError(f"model {name!r} is unknown: expected {PREFIX} and a network's name in timm{hint}")


def build(name: str, classes: int) -> nn.Module:
    """The network with ``classes`` outputs and random weights."""
    return _timm().create_model(_bare(name), pretrained=False, num_classes=classes)


def fetch(name: str) -> Path:
    """File of the published weights, in the cache: where timm has put them into the network's form.

    timm downloads them unless it did before.

    Raises:
        TaskError: none are published, or they cannot be downloaded.
    """
    timm, config = _timm(), _published(name)
    if config is None:
        raise TaskError(
            f"model {name!r}: no weights are published for it; name a checkpoint with --weights, as `prunebench train` "
            "makes one"
        )
    key = {"timm": timm.__version__, "name": name, "weights": str(config.hf_hub_id or config.url)}
    path, about = cache.path(f"published-{name.replace(':', '-')}", key), {"network": name, "timm": timm.__version__}
    if cache_files.ready(path, about):
        return path
    try:
        model = timm.create_model(_bare(name), pretrained=True)
    except Exception as error:  # of several libraries, which ask over the network
        source = f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise TaskError(
            f"weights of {name!r} cannot be downloaded ({reason(error)}): "
            f"name the file with --weights that was brought from {source}"
        ) from error
    cache.save(model.state_dict(), path)
    cache_files.use(path, about)
    return path


def preprocessing(name: str) -> Preprocessing | None:
    """The preparation of images that the published weights expect, as timm says; None where there are none.

    Raises:
        TaskError: it is another one than to scale or squash pictures, crop the centre and normalise.
    """
    check_name(name)
    config = _published(name)
    if config is None:
        return None
    from timm.data import resolve_data_config

    found = resolve_data_config({}, pretrained_cfg=config.to_dict())
    (colours, *size), mode, how = found["input_size"], found["crop_mode"], found["interpolation"]
    if (colours, size[0]) != (3, size[1]) or mode not in ("center", "squash") or how not in ("bilinear", "bicubic"):
        expected = f"{colours} x {size[0]} x {size[1]}, {how}, crop mode {mode}"
        raise TaskError(f"model {name!r}: its weights expect images that are not made here ({expected})")
    resize = math.floor(size[0] / found["crop_pct"])
    return Preprocessing(resize, size[0], tuple(found["mean"]), tuple(found["std"]), how, mode == "squash")


def _timm() -> Any:
    import timm

    return timm


def _bare(name: str) -> str:
    return name.removeprefix(PREFIX)


def _published(name: str) -> Any:
    """timm's settings of the published weights; None where there are none, or they tell no classes apart."""
    config = _timm().get_pretrained_cfg(_bare(name))
    return config if config is not None and config.has_weights and config.num_classes else None
