"""Networks of timm: names with a stand-in for the package; the rest with timm itself, where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from prunebench.envs import extras
from prunebench.envs.data.preprocessing import Preprocessing
from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models, timm_networks
from prunebench.envs.tasks.task import TaskConfig, check_task
from prunebench.envs.weights.checkpoint import load_weights


@pytest.fixture(autouse=True)
def fresh_names() -> Iterator[None]:
    timm_networks.names.cache_clear()
    yield
    timm_networks.names.cache_clear()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A timm with two networks, one of them with published weights."""
    stub = ModuleType("timm")
    published = SimpleNamespace(has_weights=True, num_classes=7, hf_hub_id="timm/small.a1", url="")
    headless = SimpleNamespace(has_weights=True, num_classes=0, hf_hub_id="timm/small.self", url="")

    def create_model(name: str, pretrained: bool, num_classes: int = 7) -> torch.nn.Module:
        torch.manual_seed(pretrained)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))

    stub.list_models = lambda: ["small", "small_wide"]  # type: ignore[attr-defined]
    stub.list_pretrained = lambda: ["small.a1", "small.self"]  # type: ignore[attr-defined]
    stub.get_pretrained_cfg = {"small": published, "small.a1": published, "small.self": headless}.get  # type: ignore[attr-defined]
    stub.create_model = create_model  # type: ignore[attr-defined]
    stub.__version__ = "9"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", stub)
    monkeypatch.setattr(extras, "installed", lambda name: True)
    return stub


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "installed", lambda name: False)
    for check in (models.check_name, models.preprocessing, lambda name: check_task(TaskConfig(name))):
        with pytest.raises(
            TaskError,
            match=r"^model 'timm:resnet18' needs timm, which is not installed: pip install \"prunebench\[timm",
        ):
            check("timm:resnet18")


@pytest.mark.usefixtures("stub")
def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    for name, near in {
        "timm:smal": "timm:small",
        "timm:small.a2": "timm:small.a1",
        "timm:smallwide": "timm:small_wide",
    }.items():
        for check in (models.check_name, models.preprocessing, lambda name: models.build(name, 10)):
            with pytest.raises(TaskError, match=f"model '{name}' is unknown: .*did you mean '{near}'"):
                check(name)
    for name in ("timm:small", "timm:small_wide", "timm:small.a1"):
        models.check_name(name)
        assert models.kind(name) == "timm"
        assert not models.needs_weights(name)
        assert models.version(name) is None


@pytest.mark.usefixtures("stub")
def test_without_published_weights_a_checkpoint_is_asked_for() -> None:
    for name in ("timm:small_wide", "timm:small.self"):  # the second tells no classes apart
        with pytest.raises(
            TaskError, match=f"model '{name}': no weights are published for it; name a checkpoint with --w"
        ):
            timm_networks.fetch(name)
        assert models.preprocessing(name) is None


def test_published_weights_are_kept(stub: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(stub, "create_model", lambda name, pretrained: torch.nn.Linear(2, 3))
    path = timm_networks.fetch("timm:small.a1")
    assert path.name.startswith("published-timm-small.a1-")
    assert set(torch.load(path)) == {"weight", "bias"}
    monkeypatch.delattr(stub, "create_model")
    assert timm_networks.fetch("timm:small.a1") == path
    monkeypatch.setattr(stub, "__version__", "10")
    with pytest.raises(TaskError, match=r"cannot be downloaded \(AttributeError"):
        timm_networks.fetch("timm:small.a1")


def test_without_network_the_user_is_told_what_to_bring(
    stub: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, pretrained: bool) -> None:
        raise ConnectionError("no\nroute")

    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(stub, "create_model", refuse)
    with pytest.raises(TaskError) as caught:
        timm_networks.fetch("timm:small")
    assert str(caught.value) == (
        "weights of 'timm:small' cannot be downloaded (ConnectionError: no route): "
        "name the file with --weights that was brought from https://huggingface.co/timm/small.a1"
    )
    assert list(tmp_path.iterdir()) == []


def test_squashed_pictures() -> None:
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 40:] = 255
    picture = Image.fromarray(pixels)
    squashed = np.asarray(Preprocessing(24, 20, squash=True)(picture, 20))
    expected = np.asarray(picture.resize((24, 24), Image.Resampling.BILINEAR))[2:22, 2:22]
    np.testing.assert_array_equal(squashed, expected)
    assert not np.array_equal(squashed, np.asarray(Preprocessing(24, 20)(picture, 20)))


@pytest.mark.parametrize("name", ["resnet50d", "efficientnet_b3.ra2_in1k", "dm_nfnet_f0"])
def test_preprocessing_is_timm_s_own(name: str) -> None:
    timm = pytest.importorskip("timm")
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    transform = timm.data.create_transform(**config, is_training=False)
    ours = models.preprocessing(f"timm:{name}")
    assert ours is not None
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)).resize((700, 500))
    made = torch.from_numpy(np.asarray(ours(picture, ours.crop)).transpose(2, 0, 1) / 255.0)
    made = (made - torch.tensor(ours.mean).view(3, 1, 1)) / torch.tensor(ours.std).view(3, 1, 1)
    theirs = transform(picture)
    assert theirs.shape == made.shape
    torch.testing.assert_close(made.float(), theirs, atol=1e-5, rtol=1e-5)


def test_a_network_of_timm_s_is_built_and_takes_its_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    ours = models.build("timm:test_resnet", 5).eval()
    load_weights(ours, tmp_path / "w.pt")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
    with pytest.raises(TaskError, match="did you mean 'timm:resnet50'"):
        models.check_name("timm:resnet5o")
