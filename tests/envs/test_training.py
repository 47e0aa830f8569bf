from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from prunebench.envs import cache
from prunebench.envs.data.digits import Digits
from prunebench.envs.data.imagedata import DataSettings, ImageData, Images
from prunebench.envs.errors import TaskError
from prunebench.envs.weights import training


class FewDigits(Digits):
    """A handful of reward images to train on, and every kind of augmentation."""

    epochs = 3
    flips = True
    shifts = True

    def __init__(self, count: int = 3 * training.BATCH) -> None:
        super().__init__(DataSettings())
        images = self.reward()
        self._few = Images(images.pixels[:count], images.labels[:count], images.sources[:count])

    def train(self) -> Images:
        return self._few


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 49, 10)
    )


class Interrupted(Exception):
    pass


def trained(data: ImageData, unfinished: Path, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    def progress(what: str, done: int, total: int) -> None:
        if done == stop_at:
            raise Interrupted

    model = network()
    training.train(model, data, 5, unfinished, progress)
    assert not model.training
    return model.state_dict()


@pytest.mark.parametrize("stop_at", [1, 5, 6])
def test_interrupted_training_ends_with_the_same_weights(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    undisturbed = trained(FewDigits(), tmp_path / "a.partial")
    with pytest.raises(Interrupted):
        trained(FewDigits(), tmp_path / "b.partial", stop_at)
    resumed = trained(FewDigits(), tmp_path / "b.partial")
    assert all(torch.equal(resumed[key], value) for key, value in undisturbed.items())
    assert not torch.equal(undisturbed["0.weight"], network().state_dict()["0.weight"])


def test_training_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FewDigits, "epochs", 30)
    monkeypatch.setattr(FewDigits, "shifts", False)
    data, model = FewDigits(), network()
    training.train(model, data, 0, tmp_path / "p", lambda *_: None)
    pixels, labels = data.tensors(data.train())
    assert float((model(pixels).argmax(1) == labels).float().mean()) > 0.8


def test_images_are_mirrored_only_where_they_may_be() -> None:
    rising = torch.arange(1.0, 12.0).expand(64, 1, 11, 11)
    for flips, least, most in ((True, 20, 44), (False, 0, 0)):
        rows = training._augment(rising, torch.Generator().manual_seed(0), flips)[:, 0, 5]
        assert least <= int((rows[:, 6] < rows[:, 5]).sum()) <= most
        assert len(rows.unique(dim=0)) > 3  # shifted all the same


def test_too_few_images_to_train_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="10 training images: expected"):
        training.train(network(), FewDigits(10), 0, tmp_path / "p", lambda *_: None)


def test_equal_content_is_saved_as_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "another"):
        cache.save(network().state_dict(), tmp_path / name)
    assert cache.sha256(tmp_path / "one") == cache.sha256(tmp_path / "another")


def test_a_damaged_cache_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"torn")
    with pytest.raises(TaskError, match=r"x\.pt' is damaged: delete it"):
        cache.load(tmp_path / "x.pt")
