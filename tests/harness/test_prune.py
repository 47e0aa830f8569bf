"""One network pruned from end to end, by the real command and from Python; and what is handed over from there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from prunebench.harness import api, cli
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError, UnmetError
from prunebench.harness.prune import pixels, steps
from prunebench.harness.prune.given import Given
from prunebench.harness.prune.result import Pruned
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment
from prunebench.harness.running.bench import Session

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from prunebench.harness.cli import main; main()", "prune"]
NETWORK = """
import numpy as np
import torch
from torch import nn

def net(num_classes=3):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )

def split(count, seed):
    labels = np.arange(count) % 3
    found = np.random.default_rng(seed).integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    found[np.arange(count), :, :, labels] += 90
    return found, labels

def images():
    return {"train": split(120, 0), "test": split(30, 1)}
"""
BEFORE = """
import torch

class Live(torch.nn.Module):  # of this prompt alone: no process could import it
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x)

train, (pixels, labels) = images().values()
mean, std = (torch.tensor(colours).view(3, 1, 1) for colours in ((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)))
tensors = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
test = torch.utils.data.TensorDataset(tensors, torch.from_numpy(labels))
model = Live().train()
"""
(SHOWN,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/prune.md").read_text(), re.DOTALL | re.MULTILINE)
AFTER = """
assert model.training and model.body[0].out_channels == 12
small = pruned.module
right = (small(tensors).argmax(1).numpy() == labels).mean()
assert abs(right - pruned.accuracy["pruned"]) < 1e-6, (right, pruned.accuracy)
dense = (model.eval()(tensors).argmax(1).numpy() == labels).mean()
assert abs(dense - pruned.accuracy["dense"]) < 1e-6, (dense, pruned.accuracy)
assert "<table>" in pruned._repr_html_() and pruned.facts["macs"] <= 20_000
"""


def call(command: list[str], cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=280, check=False, cwd=cwd, env=dict(os.environ)
    )


def test_the_command_prunes_fine_tunes_exports_and_reports(tmp_path: Path) -> None:
    (tmp_path / "mynet.py").write_text(NETWORK)
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    torch.save(names["net"]().state_dict(), tmp_path / "net.pt")
    flags = ["--model", "mynet:net", "--weights", "net.pt", "--dataset", "mynet:images", "--agent", "random"]
    flags += ["--macs", "20K", "--evaluations", "2", "--epochs", "0.5", "--out", "out"]
    done = call([*COMMAND, *flags], tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "out" / "network" / "network.json").read_text())
    assert facts["macs"] <= 20_000
    assert facts["weights"] == "fine-tuned"
    assert [timed["images"] for timed in facts["onnxruntime"]] == [12, 1]
    assert "20,000 MACs" in done.stdout
    assert f"{facts['macs']:,}" in done.stdout
    page = (tmp_path / "out" / "prune.html").read_text()
    assert page.count("<svg") == 2
    for word in done.stdout.split():
        if word.startswith("out/"):
            assert (tmp_path / word).is_file()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.suffix != ".html"}
    killed = [tmp_path / "out" / name for name in ("network.new", f".network.new.{2**22 + 1}.tmp")]
    for folder in killed:  # no process has such a number
        folder.mkdir()
        (folder / "network.onnx").touch()
    again = call([*COMMAND, *flags], tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not any(folder.exists() for folder in killed)

    other = call([*COMMAND, *flags, "--epochs", "2"], tmp_path)
    said = "epochs 2: the network in 'out' was fine-tuned with epochs 0.5: name these again, or another --out"
    assert (other.returncode, other.stderr) == (2, f"prunebench: error: {said}\n")


def test_what_the_page_says_for_python_at_the_prompt(tmp_path: Path) -> None:
    """With a live network, arrays and a data set that is normalised as the page's is."""
    few = SHOWN.replace('macs="11M"', 'macs="20K", agent="random", evaluations=2, epochs=0, out="out"')
    done = call([sys.executable, "-"], tmp_path, NETWORK + BEFORE + few + AFTER)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_are_found_again(dtype: type) -> None:
    """What ToTensor and Normalize make of bytes, in either order of axes, with any mean and deviation."""
    whole = np.random.default_rng(0).integers(0, 256, (7, 5, 5, 3), dtype=np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    scaled = (whole / 255).astype(dtype)
    normalised = ((whole / 255 - mean) / std).astype(dtype)
    labels = np.zeros(7, dtype=np.int64)
    for given in (whole, scaled, normalised, torch.from_numpy(normalised)):
        np.testing.assert_array_equal(pixels.split("train", (given, labels), mean, std)[0], whole)
    first = np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
    items = TensorDataset(torch.from_numpy(first), torch.from_numpy(labels))
    np.testing.assert_array_equal(pixels.split("test", items, mean, std)[0], whole.transpose(0, 3, 1, 2))


class Augmented:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> Any:
        return np.random.random((3, 4, 4)), 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((np.full((2, 3, 4, 4), -1.5), [0, 1]), "from -1.5 to -1.5: expected bytes.*mean= and std="),
        ((np.full((2, 3, 4, 4), 0.3001), [0, 1]), "expected bytes"),
        (Augmented(), "no random augmentation"),
        (3, "expected .pixels, labels., or a torch data set"),
        ([(1, 2), 3, 4], "expected .pixels, labels."),
    ],
)
def test_other_pixels_are_refused(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pixels.split("train", given, None, None)


def test_what_is_given_twice_has_one_name_and_what_is_other_another(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(NETWORK, names)
    first, again = (Given(names["net"](), "digits", None, None).names(tmp_path) for _ in range(2))
    other = names["net"]()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1
    assert first == again != Given(other, "digits", None, None).names(tmp_path)
    assert first["model"].startswith("sequential_")


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(1)


def test_a_network_that_cannot_be_handed_over_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Noisy: it computes something else each time"):
        api.prune(Noisy(), "digits", agent="sampler", out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"model is int: expected a torch\.nn\.Module"):
        api.prune(3, out=tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="setting 'shape' is unknown"):
        api.prune("resnet20", shape=3, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--model resnet20", 1, "latency-ms 1: as fast is no network"),
        ("--macs 1M --params 1M", 2, "macs and params are budgets both"),
        ("--epochs -1", 2, "epochs -1: expected a positive number, or 0 for no fine-tuning"),
        ("--epochs nan", 2, "epochs nan: expected a positive number, or 0 for no fine-tuning"),
        ("--agent sampler,slow", 2, "agent 'sampler slow': expected one"),
        ("--dataset imagenet --data {data}", 2, "is not trained on: expected --epochs 0"),
    ],
)
def test_refusals_are_one_line(
    flags: str,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unmet(*args: Any, **kwargs: Any) -> None:
        raise UnmetError("latency-ms 1: as fast is no network")

    monkeypatch.setattr(steps, "bench", unmet)
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
    with pytest.raises(SystemExit) as end:
        cli.main(
            [
                "prune",
                "--agent",
                "sampler",
                "--out",
                str(tmp_path / "out"),
                *flags.format(data=tmp_path / "data").split(),
            ]
        )
    line = capsys.readouterr().err
    assert (end.value.code, line.count("\n")) == (code, 1)
    assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("limit", "preserve", "unmet"),
    [
        (1e6, 0.5, None),
        (0.7e6, 0.5, "ask for 0.544"),
        (None, 0.5, "latency-ms 0.5: .*ask for 0.278"),
        (None, 0.9, None),
    ],
)
def test_a_latency_that_was_predicted_and_not_measured_is_told(
    limit: float | None, preserve: float, unmet: str | None, experiment: Experiment
) -> None:
    config = dataclasses.replace(experiment.config, cost="latency", limit=limit, preserve=preserve)
    facts = {"latency": {"seconds": [0.08, 0.09, 0.1], "dense_seconds": [0.1, 0.1, 0.1], "images": 100}}
    found = Pruned(dataclasses.replace(experiment, config=config), facts).unmet
    assert found is unmet is None or (unmet is not None and re.search(unmet, str(found)))


def test_where_onnxruntime_gains_nothing_it_is_said(experiment: Experiment) -> None:
    facts = {"macs": 50, "dense": {"macs": 100}, "onnxruntime": [{"kept": [0.9, kept, 1.1]} for kept in (0.97, 1.2)]}
    assert "blocks of 8" in str(Pruned(experiment, facts).blocks)
    facts["onnxruntime"] = [{"kept": [0.5, 0.6, 0.7]}]
    assert Pruned(experiment, facts).blocks is None


def test_a_failed_search_ends_it_and_a_failed_timing_of_its_network_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fake.experiment(tmp_path / "x", 1, agents=("latency_aware",))
    session = Session(made, failed={"latency of the incumbents": "a busy machine"})
    monkeypatch.setattr(steps, "bench", lambda *args, **kwargs: session)
    assert steps._searched(made.config, made.folder, "", Lines()) is made
    session.failed["latency_aware seed 0"] = "it died"
    with pytest.raises(UnmetError, match="the search failed: it died"):
        steps._searched(made.config, made.folder, "", Lines())


def small(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_a_class_that_was_typed_anew_is_another_network() -> None:
    def typed(code: str) -> nn.Module:
        names: dict[str, Any] = {"nn": nn}
        exec(f"class Live(nn.Sequential):\n    def forward(self, x):\n        {code}", names)
        found: nn.Module = names["Live"](*small())
        return found

    plain, flipped = "return super(type(self), self).forward(x)", "return super(type(self), self).forward(x.flip(1))"
    named = [Given(typed(code), "digits", None, None).names(Path())["model"] for code in (plain, flipped, plain)]
    assert named[0] == named[2] != named[1]


def test_what_was_in_the_folder_before_a_refusal_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    kept = out / "given/notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    labels = np.arange(12) % 3
    images = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="macs 1:"):
        api.prune(
            small(), {"train": (images[:12], labels), "test": (images[12:], labels)}, macs=1, agent="global", out=out
        )
    assert kept.read_text() == "mine"


def test_what_a_killed_call_handed_over_goes_and_other_files_stay(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8), np.arange(12) % 3
    Given(small(), ((images, labels), (255 - images, labels)), None, None).write(tmp_path)
    (tmp_path / "mine.py").write_bytes(b"\xff")
    given = Given(small(1), "digits", None, None)
    given.write(tmp_path)
    module = given.names(tmp_path)["model"].partition(":")[0]
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "network.pkl", "weights.pt", f"{module}.py"}


def test_a_live_network_takes_no_weights() -> None:
    with pytest.raises(ValueError, match=r"weights 'nope\.pt': a live network has its own"):
        api.prune(small(), "digits", macs=1, weights="nope.pt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"agent": 3}, "agent 3: expected one agent's name"),
        ({"epochs": "0"}, "epochs '0': expected a number"),
        ({"mean": 0.5, "std": (1, 1, 1)}, "prune: mean 0.5"),
        ({"mean": (0.5, 0.5), "std": (1, 1, 1)}, "mean .0.5, 0.5.: expected a number for each of the three colours"),
        ({"preserve": [0.5, 0.4]}, "expected one experiment, not 2"),
        ({"evaluations": "many"}, "prune: evaluations 'many'"),
        ({"data": {"train": (np.empty((0, 3, 8, 8)), []), "test": (np.empty((0, 3, 8, 8)), [])}}, "has no images"),
        ({"dataset": "digits"}, "setting 'dataset' is unknown"),
    ],
)
def test_arguments_of_the_wrong_kind_are_one_sentence(arguments: Any, words: str, tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 3), dtype=np.uint8), np.arange(12) % 3
    data = {"train": (images[:12], labels), "test": (images[12:], labels)}
    given = {"data": data, "agent": "global", "out": tmp_path / "out"} | arguments
    with pytest.raises(ValueError, match=words) as error:
        api.prune(small(), **given)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_reading_an_experiment_imports_nothing_that_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/numexpr.py").write_text("raise SystemExit('imported')")
    (tmp_path / "given/mine.py").touch()
    (tmp_path / "experiment.yaml").write_text(
        "schema: 1\ncommand: x\nexperiment: {task: {model: 'mine:net', weights: w.pt}, agents: [uniform]}\n"
    )
    before = list(sys.path)
    store.load(tmp_path)
    assert sys.path == before
