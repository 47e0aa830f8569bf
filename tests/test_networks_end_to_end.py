"""The real command with networks and data that are not the defaults: small folders, random weights, no downloads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

COMMAND = [sys.executable, "-c", "from prunebench.harness.cli import main; main()", "bench"]
OFFLINE = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}  # nobody listens there
OWN = """
from torch import nn

def net(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )
"""

# A residual branch that starts at zero, with channels turned round behind it: nothing that tracing sees.
HIDDEN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(8), nn.Linear(8, classes)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        x = self.a(x).relu()
        x = x + self.norm(self.c(self.b(x).relu().flip(1)))
        return self.head(x.relu().mean((2, 3)))

def net(num_classes):
    return Net(num_classes)
"""


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for wnid in ("n01440764", "n01443537", "n01484850"):
            (root / split / wnid).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (44, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / wnid / f"{wnid}_{number}.JPEG")
    return root


def bench(cwd: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, "--agents", "uniform random", "--evaluations", "3", "--seeds", "1", "--out", "out", *flags]
    environment = os.environ | OFFLINE | {"TORCH_HOME": str(cwd / "torch")}
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=280, check=False, cwd=cwd, env=environment
    )


def facts(cwd: Path) -> dict[str, object]:
    return json.loads((cwd / "out" / "manifest.json").read_text())["task"]


def test_torchvisions_imagenet_route(imagenet: Path, tmp_path: Path) -> None:
    import torch
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.mobilenet_v3_small(num_classes=3).state_dict(), tmp_path / "random.pt")
    flags = ["--model", "torchvision:mobilenet_v3_small", "--weights", "random.pt", "--scope", "all"]
    result = bench(tmp_path, *flags, "--dataset", "imagenet", "--data", imagenet, "--image-size", 32)
    assert result.returncode == 0, result.stderr
    assert "torchvision:mobilenet_v3_small on imagenet" in " ".join(result.stdout.split())
    assert facts(tmp_path)["layers"] == 27
    assert facts(tmp_path)["splits"] == {"reward": 4, "test": 12, "calibration": 44}
    runs = pd.read_csv(tmp_path / "out" / "tables" / "runs.csv")
    assert dict(zip(runs["agent"], runs["status"], strict=True)) == dict.fromkeys(
        ["global", "greedy", "uniform", "random"], "done"
    )
    assert (runs["latency_kept_percent"] > 0).all()
    assert (tmp_path / "out" / "runs" / "torchvision-mobilenet_v3_small" / "random" / "seed-0.jsonl").exists()


def test_missing_published_weights_say_what_to_download_and_where_to_put_it(imagenet: Path, tmp_path: Path) -> None:
    result = bench(tmp_path, "--model", "torchvision:resnet18", "--dataset", "imagenet", "--data", imagenet)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in line
    assert str(tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in line
    assert not (tmp_path / "out").exists()


def test_a_network_of_ones_own_with_a_budget_on_parameters(tmp_path: Path) -> None:
    (tmp_path / "mynets.py").write_text(OWN)
    subprocess.run(
        [sys.executable, "-c", "import torch, mynets; torch.save(mynets.net(10).state_dict(), 'own.pt')"],
        cwd=tmp_path,
        check=True,
    )
    flags = ["--model", "mynets:net", "--weights", "own.pt", "--cost", "parameters", "--preserve", 0.6]
    result = bench(tmp_path, *flags, "--reward-images", 50, "--reconstruction", "both", "--importance", "taylor")
    assert result.returncode == 0, result.stderr
    runs = pd.read_csv(tmp_path / "out" / "tables" / "runs.csv")
    assert (runs["parameters_kept_percent"] <= 60).all()
    refused = bench(tmp_path, *flags[:2])
    assert refused.returncode == 2
    assert "needs --weights" in refused.stderr


def test_a_fault_that_fresh_weights_would_hide_is_found(tmp_path: Path) -> None:
    (tmp_path / "hidden.py").write_text(HIDDEN)
    subprocess.run(
        [sys.executable, "-c", "import torch, hidden; torch.save(hidden.net(10).state_dict(), 'w.pt')"],
        cwd=tmp_path,
        check=True,
    )
    result = bench(tmp_path, "--model", "hidden:net", "--weights", "w.pt")
    assert result.returncode == 2
    assert "layer b: its channels cannot be removed" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
