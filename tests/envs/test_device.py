"""Devices and batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import reference
import torch
from randomnets import random_network

from prunebench.envs import device
from prunebench.envs.choices import RECONSTRUCTIONS, SCOPES
from prunebench.envs.data.batches import Batches
from prunebench.envs.data.digits import Digits
from prunebench.envs.data.imagedata import DataSettings, Images
from prunebench.envs.errors import TaskError, check_choice
from prunebench.envs.evaluation.calibration import calibrate
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.pruning import forward
from prunebench.envs.pruning.network import PrunableNetwork

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    """Put back what choosing a device sets for the whole process."""
    backends = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [backend.allow_tf32 for backend in backends], torch.backends.cudnn.deterministic
    yield
    for backend, allow in zip(backends, before[0], strict=True):
        backend.allow_tf32 = allow
    torch.backends.cudnn.deterministic = before[1]


@pytest.mark.parametrize("tf32", [False, True])
def test_arithmetic_is_deterministic_and_in_full_precision_unless_told(tf32: bool) -> None:
    assert device.use("cpu", tf32) == torch.device("cpu")
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is tf32
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


def test_cuda_without_a_gpu_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        TaskError, match=r"^device 'cuda': PyTorch finds no CUDA device on this machine; expected 'cpu'$"
    ):
        device.use("cuda", False)


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        TaskError, match=r"^device 'cudo' is unknown: expected one of cpu, cuda; did you mean 'cuda'\?$"
    ):
        device.use("cudo", False)


def test_a_choice_that_is_near_nothing_gets_no_suggestion() -> None:
    with pytest.raises(TaskError, match=r"^scope 'xyz' is unknown: expected one of all, inner$"):
        check_choice("scope", "xyz", iter(["inner", "all"]))
    check_choice("scope", "all", ["inner", "all"])


def test_the_largest_batch_that_fits_is_found_by_halving(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)

    def run(size: int) -> None:
        tried.append(size)
        if size > 20:
            raise torch.cuda.OutOfMemoryError

    assert device.largest_fitting(100, run) == 12
    assert tried == [50, 25, 12]


def test_other_errors_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    with pytest.raises(ZeroDivisionError):
        device.largest_fitting(8, lambda size: 1 // 0)


def images(count: int) -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return Images(pixels, rng.integers(0, 10, count), np.arange(count))


@pytest.mark.parametrize("resident", [False, True])
def test_bytes_normalised_batch_by_batch_are_those_normalised_at_once(resident: bool) -> None:
    data, found = Digits(DataSettings()), images(10)
    batches = Batches.of(found, data, 4, torch.device("cpu"), resident=resident)
    pixels, labels = data.tensors(found)
    for _ in range(2):  # as often as one likes
        parts = list(batches)
        assert [len(part) for part, _ in parts] == [4, 4, 2]
        assert torch.equal(torch.cat([part for part, _ in parts]), pixels)
        assert torch.equal(torch.cat([own for _, own in parts]), labels)
    assert (len(batches), batches.images, batches.size) == (3, 10, 4)


def test_batches_are_float32_and_channels_last() -> None:
    (pixels, _), *_ = Batches.of(images(4), Digits(DataSettings()), 4, torch.device("cpu"))
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_resized_batches_hold_the_same_images() -> None:
    batches = Batches.of(images(10), Digits(DataSettings()), 4, torch.device("cpu"))
    resized = batches.resized(7)
    assert [len(labels) for _, labels in resized] == [7, 3]
    assert torch.equal(torch.cat([part for part, _ in resized]), torch.cat([part for part, _ in batches]))


def test_normalising_leaves_the_images_as_they_are() -> None:
    found = images(4)
    before = found.pixels.copy()
    list(Batches.of(found, Digits(DataSettings()), 4, torch.device("cpu")))
    assert (found.pixels == before).all()


def logits(name: str, scope: str, reconstruction: str, where: torch.device) -> torch.Tensor:
    """Of a random policy; everything, calibration included, happens on one device."""
    network = PrunableNetwork(random_network(name).to(where), reference.noise(name, 1, 0).to(where), scope)

    def batches(count: int, seed: int) -> Batches:
        pixels = reference.noise(name, count, seed)
        return Batches(pixels, torch.arange(count) % 10, lambda same: same, 16, where)

    pixels, reward = batches(32, 1), batches(6, 2)
    found = Evaluator(
        network,
        calibrate(network, pixels, importance="l2", least_squares=reconstruction in ("least-squares", "both"), seed=0),
        reward,
        lambda: reward,
        pixels if reconstruction in ("batch-norm", "both") else None,
    )
    with torch.inference_mode():
        ((own, _),) = reward
        return found.build(reference.random_counts(network, 0))(own).cpu()


@needs_gpu
@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_both_devices_give_the_same_logits(name: str, scope: str, reconstruction: str) -> None:
    cpu, cuda = (logits(name, scope, reconstruction, device.use(where, tf32=False)) for where in ("cpu", "cuda"))
    # batch norm recomputed divides by deviations that are next to nothing where channels are nearly dead
    tolerance = 1e-3 if reconstruction in ("batch-norm", "both") else 1e-4
    assert reference.difference(cuda, cpu) <= tolerance


class OnAGpu(torch.Tensor):
    """A tensor that says so."""

    is_cuda = True


def test_images_are_contiguous_on_a_gpu_alone() -> None:
    network, image = random_network("resnet20"), reference.noise("resnet20", 1, 0)
    assert forward.layout(network, image) is torch.channels_last
    assert forward.layout(network, image.as_subclass(OnAGpu)) is torch.contiguous_format


@needs_gpu
def test_the_same_policy_scores_the_same_every_time_on_a_gpu() -> None:
    where = device.use("cuda", tf32=False)
    assert torch.equal(*(logits("mobilenetv2", "all", "both", where) for _ in range(2)))
