"""Exported networks: rebuilt from two files alone, and the same in onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oddnets
import onnx
import pytest
import reference
import torch
from torch import nn

from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.weights import export

CLASSES = list("0123456789")


def pruned(name: str, scope: str) -> tuple[Evaluator, nn.Module]:
    found = reference.evaluator(name, scope, "l2", "none")
    return found, found.unfolded(reference.random_counts(found.network, 4))


def written(folder: Path, name: str, scope: str) -> tuple[nn.Module, float]:
    found, model = pruned(name, scope)
    return model, export.write(folder, model, {"model": name, "classes": CLASSES, "note": "kept"}, found.reward)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resnet20")
    written(folder, "resnet20", "all")
    return folder


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("resnet20", "inner"),
        ("resnet20", "all"),
        pytest.param("mobilenetv2", "inner", marks=pytest.mark.slow),
        pytest.param("vgg16", "inner", marks=pytest.mark.slow),
        ("oddnets:two_names", "inner"),
        ("oddnets:multiplier", "inner"),
        ("oddnets:instance_normed", "all"),
        ("oddnets:tied", "inner"),
        ("oddnets:viewed", "inner"),
    ],
)
def test_a_network_comes_back_from_its_files(
    name: str, scope: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, difference = written(tmp_path, name, scope)
    assert capfd.readouterr() == ("", "")
    assert difference <= export.TOLERANCE
    assert {path.name for path in tmp_path.iterdir()} == {"network.safetensors", "network.json", "network.onnx"}
    content = json.loads((tmp_path / "network.json").read_text())
    assert (content["note"], content["onnx"]["images"]) == ("kept", reference.IMAGES)
    images = reference.noise(name, 5, 8)
    with torch.no_grad():
        assert reference.difference(export.load(tmp_path)(images), model(images)) <= 1e-5
    loaded = export.load(tmp_path).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in model.state_dict().items())
    assert export.onnx_difference(model, [(images, images)], tmp_path / "network.onnx") <= export.TOLERANCE


class Deciding(nn.Module):
    """Does something else where there is no number: the exporter cannot know."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = oddnets.grouped(10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 10) if torch.isnan(x).any() else self.inside(x)


def test_a_network_that_the_exporter_cannot_follow_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"^network\.onnx: Deciding cannot be exported: \w+: ") as refused:
        export.write_onnx(Deciding().eval(), reference.noise("small", 2, 0), tmp_path / "network.onnx")
    assert "\n" not in str(refused.value)


class Overwriting(nn.Module):
    """Uses what its activation has overwritten: scores, or the image itself."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.inside, self.act, self.where = oddnets.grouped(10), nn.ReLU(inplace=True), where

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.where == "image":
            return self.inside(x + self.act(x))
        scores = self.inside(x)
        return scores + self.act(scores)


def test_only_where_it_makes_no_difference_activations_are_exported_out_of_place() -> None:
    images = reference.noise("small", 4, 0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(inplace=True), nn.Flatten()).eval()
    copied = export._out_of_place(model, images)
    assert (model[1].inplace, copied[1].inplace) == (True, False)
    for where in ("scores", "image"):
        overwriting = Overwriting(where).eval()
        assert export._out_of_place(overwriting, images) is overwriting
    assert torch.equal(images, reference.noise("small", 4, 0))


def test_a_network_that_uses_an_overwritten_input_is_exported_as_it_computes(tmp_path: Path) -> None:
    model, images = Overwriting("scores").eval(), reference.noise("small", 4, 0)
    expected = model(images)
    export.write_onnx(model, images[:2], tmp_path / "network.onnx")
    assert model.act.inplace
    assert torch.equal(model(images), expected)
    assert export.onnx_difference(model, [(images, images)], tmp_path / "network.onnx") <= export.TOLERANCE


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:mobilenet_v3_large"])
def test_torchvisions_networks_too(name: str, tmp_path: Path) -> None:
    _, model = pruned(name, "inner")
    export.save_weights(model, tmp_path / export.WEIGHTS)
    content = {"schema": export.SCHEMA, "model": name, "classes": CLASSES, "modules": export.shapes(model)}
    (tmp_path / export.DESCRIPTION).write_text(json.dumps(content))
    images = reference.noise(name, 2, 8)
    with torch.no_grad():
        assert reference.difference(export.load(tmp_path)(images), model(images)) <= 1e-5


def test_nothing_of_this_machine_is_in_the_files(exported: Path) -> None:
    for path in exported.iterdir():
        content = path.read_bytes()
        assert str(Path(__file__).parents[2]).encode() not in content
        assert b"site-packages" not in content
    assert onnx.load(exported / "network.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_param


@pytest.mark.parametrize("change", [0.01, float("nan")])
def test_a_difference_in_onnx_is_an_error(
    change: float, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(exported / export.ONNX)
    (bias,) = (tensor for tensor in graph.graph.initializer if tensor.name == "linear.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(change), bias.name))
    monkeypatch.setattr(export, "write_onnx", lambda model, example, path: onnx.save(graph, path))
    with pytest.raises(TaskError, match=r"network\.onnx: largest difference of an output .* expected at most 0\.0001"):
        written(tmp_path, "resnet20", "all")


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_the_tolerance_is_a_fraction_of_the_largest_output(scale: float, tmp_path: Path) -> None:
    found, model = pruned("resnet20", "inner")
    model.linear.weight.data *= scale / export.largest_output(model, found.reward)
    model.linear.bias.data *= 0
    found_scale = export.largest_output(model, found.reward)
    facts = {"model": "resnet20", "classes": CLASSES}
    assert export.write(tmp_path, model, facts, found.reward) <= export.TOLERANCE * found_scale


def damage(folder: Path, **changes: Any) -> None:
    path = folder / export.DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / export.DESCRIPTION).unlink(), "describes no network"),
        (lambda f: (f / export.DESCRIPTION).write_text("{"), "describes no network"),
        (lambda f: (f / export.DESCRIPTION).write_text("{}"), "describes no network"),
        (lambda f: (f / export.DESCRIPTION).write_text("[" * 100_000), "describes no network"),
        (lambda f: (f / export.WEIGHTS).unlink(), "cannot be read"),
        (lambda f: (f / export.WEIGHTS).write_bytes(b"torn"), "cannot be read"),
        (lambda f: damage(f, schema=9), "expected version 1"),
        (lambda f: damage(f, modules={"layer9": {}}), "no layer 'layer9'"),
        (lambda f: damage(f, model="resnet32"), "are not of this network"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    spoil: Callable[[Path], Any], words: str, exported: Path, tmp_path: Path
) -> None:
    for name in (export.WEIGHTS, export.DESCRIPTION):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    spoil(tmp_path)
    with pytest.raises(TaskError, match=words) as refused:
        export.load(tmp_path)
    assert "\n" not in str(refused.value)
