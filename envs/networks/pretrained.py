"""torchvision's networks for ImageNet, as ``torchvision:<name>``, and the weights published for them."""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs import cache
from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

PREFIX = "torchvision:"

# As torchvision builds these two for evaluation with published weights: without auxiliary heads, and shifting inputs
# normalised in ImageNet's way to the range that the weights were trained with.
_AS_PUBLISHED = {"aux_logits": False, "transform_input": True, "init_weights": False}
_ARGUMENTS = {"googlenet": _AS_PUBLISHED, "inception_v3": _AS_PUBLISHED}


def names() -> list[str]:
    """torchvision's classification networks, with the prefix."""
    from torchvision import models

    return [PREFIX + bare for bare in models.list_models(module=models)]


def check_name(name: str) -> None:
    """Raise TaskError, with the nearest name, unless torchvision has this classification network."""
    if name not in names():
        hint = did_you_mean(name, names())
        raise TaskError(f"model {name!r} is unknown: expected {PREFIX} and a classification network's name{hint}")


def build(name: str, classes: int) -> nn.Module:
    """The network with ``classes`` outputs and random weights."""
    from torchvision import models

    bare = name.removeprefix(PREFIX)
    return models.get_model(bare, weights=None, num_classes=classes, **_ARGUMENTS.get(bare, {}))


def fetch(name: str) -> Path:
    """File of torchvision's default weights: where ``torch.hub`` keeps it, downloaded unless it is there.

    Raises:
        TaskError: none are published, they cannot be downloaded, or the file is damaged.
    """
    import torch

    weights = _weights(name)
    if weights is None:
        raise TaskError(
            f"model {name!r}: no weights are published for it; name a checkpoint with --weights, as `prunebench train` "
            "makes one"
        )
    url = str(weights.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    prefix = digest[1] if digest else ""
    if not path.exists():
        _download(name, url, path, prefix)
    elif not cache.sha256(path).startswith(prefix):
        raise TaskError(f"weights {str(path)!r} are damaged (SHA-256 does not begin with {prefix}): delete the file")
    return path


def _download(name: str, url: str, path: Path, prefix: str) -> None:
    import torch

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), prefix, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash differs
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TaskError(
            f"weights of {name!r} cannot be downloaded ({reason}): "
            f"bring {url} to {str(path)!r}, or name a checkpoint with --weights"
        ) from error


def preprocessing(name: str) -> Preprocessing | None:
    """The preparation of images that the published weights expect; None for networks that have none."""
    weights = _weights(name)
    if weights is None:
        return None
    preset = weights.transforms()
    sizes = preset.resize_size[0], preset.crop_size[0]
    return Preprocessing(*sizes, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)


def _weights(name: str) -> Any:
    if not name.startswith(PREFIX):
        return None
    check_name(name)
    from torchvision import models

    return getattr(models.get_model_weights(name.removeprefix(PREFIX)), "DEFAULT", None)
