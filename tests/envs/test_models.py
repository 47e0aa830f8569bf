from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from randomnets import random_network
from torch import nn
from torch.nn import functional as F

from prunebench.envs.errors import TaskError
from prunebench.envs.networks import models
from prunebench.envs.networks.resnet import PaddedShortcut

PARAMETERS = {
    "mobilenetv1": 3_217_226,
    "mobilenetv2": 2_236_682,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "vgg16": 14_728_266,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_table_s_networks_are_those_of_the_literature(name: str) -> None:
    network = random_network(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    for size in (16, 32):
        with torch.inference_mode():
            logits = network(torch.randn(4, 3, size, size))
        assert logits.shape == (4, 10)
        assert 0.1 < float(logits.std()) < 10


def test_the_table_is_complete() -> None:
    assert models.names() == sorted(PARAMETERS)


def test_vgg_ends_in_the_usual_pooling_at_32_pixels() -> None:
    features = random_network("vgg16").features
    maps = features[:-1](torch.randn(2, 3, 32, 32))
    assert maps.shape == (2, 512, 2, 2)
    assert torch.equal(features[-1](maps), F.max_pool2d(maps, 2))


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv1", "vgg16"])
def test_fresh_networks_neither_vanish_nor_explode(name: str) -> None:
    torch.manual_seed(0)
    network, outputs = models.build(name, 10), []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, output: outputs.append(float(output.detach().std())))
    network(torch.randn(8, 3, 16, 16))
    assert all(0.1 < size < 10 for size in outputs)


@pytest.mark.parametrize(("c_in", "c_out", "stride"), [(16, 32, 2), (3, 8, 1), (4, 4, 2)])
def test_a_shortcut_copies_what_it_says(c_in: int, c_out: int, stride: int) -> None:
    shortcut, x = PaddedShortcut(c_in, c_out, stride), torch.randn(2, c_in, 8, 8)
    expected = torch.zeros(2, c_out, 8 // stride, 8 // stride)
    expected[:, (c_out - c_in) // 2 :][:, :c_in] = x[:, :, ::stride, ::stride]
    assert torch.equal(shortcut(x), expected)
    source = shortcut.source()
    assert all(
        torch.equal(shortcut(x)[:, j], x[:, i, ::stride, ::stride] if i >= 0 else torch.zeros_like(expected[:, j]))
        for j, i in enumerate(source)
    )
    assert sorted(source[source >= 0]) == list(range(c_in))


def test_a_smaller_shortcut_takes_the_selected_channels() -> None:
    shortcut, x = PaddedShortcut(16, 32, 2), torch.randn(2, 5, 8, 8)
    shortcut.selected = torch.tensor([5, 3, 0, 5, 4, 4])
    small = x[:, :, ::2, ::2]
    zeros = torch.zeros(2, 4, 4)
    expected = [zeros, small[:, 3], small[:, 0], zeros, small[:, 4], small[:, 4]]
    assert torch.equal(shortcut(x), torch.stack(expected, 1))
    assert not shortcut.state_dict()


def test_only_shortcuts_that_change_the_shape_are_modules() -> None:
    shortcuts = {n for n, m in models.build("resnet20", 10).named_modules() if isinstance(m, PaddedShortcut)}
    assert shortcuts == {"layer2.0.shortcut", "layer3.0.shortcut"}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mobilenetv9", "mobilenetv2"),
        ("resnet65", "resnet56"),
        ("torchvision:resnet81", "torchvision:resnet18"),
        ("torchvision:mobilenetv2", "torchvision:mobilenet_v2"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name: str, near: str) -> None:
    for ask in (models.check_name, lambda name: models.build(name, 10)):
        with pytest.raises(TaskError, match=f"'{name}' is unknown: .*did you mean '{near}'\\?$"):
            ask(name)


def test_an_unknown_name_is_told_the_patterns() -> None:
    with pytest.raises(TaskError, match=r"package\.module:function.*timm:<name>, torchvision:<name>"):
        models.check_name("lenet")


def test_what_a_name_says() -> None:
    forms = {
        "vgg16": "table",
        "torchvision:resnet18": "torchvision",
        "timm:resnet18.a1_in1k": "timm",
        "nets.small:build": "own",
    }
    assert {name: models.kind(name) for name in forms} == forms
    assert [models.slug(name) for name in forms] == [
        *("vgg16", "torchvision-resnet18", "timm-resnet18.a1_in1k", "nets.small-build")
    ]
    assert [models.needs_weights(name) for name in forms] == [False, False, False, True]


def test_checking_a_name_of_the_table_or_the_user_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("import torch")
    code = "import sys; from prunebench.envs.networks import models; [models.check_name(name) for name in sys.argv[1:]]"
    code += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, "mobilenetv2", "nets:build"], cwd=tmp_path, check=True)
