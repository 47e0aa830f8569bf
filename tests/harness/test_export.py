"""Exporting a run's network with real processes: which run, what is printed, and nothing left where it fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fake
import finished_runs
import pytest
import torch

from prunebench.envs.errors import TaskError
from prunebench.envs.tasks import preparation
from prunebench.envs.weights import export as files
from prunebench.harness import cli
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import FinetuneSettings
from prunebench.harness.inside.export import export_one
from prunebench.harness.inside.finetune import finetune_one, resolve
from prunebench.harness.processes.local import JobError
from prunebench.harness.record.store import Experiment
from prunebench.harness.running.export import Exported, choose, export

DENSE = {"reward_accuracy": 0.9, "test_accuracy": 0.8, "macs": 2_000_000, "parameters": 20_000}

pytestmark = pytest.mark.usefixtures("finished_runs_server")


def silent(*values: Any) -> None:
    pass


def tune(experiment: Experiment, agent: str, seed: int) -> None:
    settings = resolve(silent, experiment.config, FinetuneSettings(1, 0.01))
    finetune_one(silent, experiment.config, experiment.folder, agent, seed, settings)


def test_the_best_run_is_exported_and_its_latency_told(
    experiment: Experiment, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command("export", str(experiment.folder)) == 0
    folder = experiment.folder / "export" / "random-seed-1"
    told = capfd.readouterr()
    printed = told.out.splitlines()
    facts = json.loads((folder / "network.json").read_text())
    dense = facts["dense"]
    assert printed[0] == f"random seed 1: {folder}"
    assert printed[1] == "weights     as pruned; `prunebench finetune` was not run for it"
    share = 100 * facts["macs"] / dense["macs"]
    assert printed[2] == f"MACs        {facts['macs']:,}  {share:.1f} % of the dense network's"
    assert printed[3].startswith(f"parameters  {facts['parameters']:,}  ")
    number = r"[\d.e-]+"
    quartiles = rf"\(IQR {number}-{number}\), dense {number} ms \({number}-{number}\): [\d.]+ %"
    assert re.fullmatch(rf"latency     {number} ms per image {quartiles}", printed[5])
    assert re.fullmatch(r"ONNX        largest difference of an output [\d.e-]+ \(20 images\)", printed[6])
    assert set(told.err.splitlines()) == set()
    assert facts["onnx"]["largest_difference"] <= files.TOLERANCE
    assert facts["classes"] == [f"class{label}" for label in range(finished_runs.CLASSES)]
    assert facts["input"] == {"channels": 3, "size": finished_runs.SIZE}
    assert facts["origin"]["agent"] == "random"
    assert facts["channels"]["layers"][0] == "layer1.0.conv1"
    assert facts["channels"]["kept"] == experiment.run("random", 1).lines()[0].channels
    assert str(experiment.folder) not in (folder / "network.json").read_text()
    assert not [path for path in folder.parent.iterdir() if path != folder]
    evaluator = preparation.load_evaluator(experiment.config.task)
    pixels = next(iter(evaluator.reward))[0]
    with torch.no_grad():
        theirs = evaluator.build(facts["channels"]["kept"])(pixels)
        torch.testing.assert_close(files.load(folder)(pixels), theirs, rtol=1e-4, atol=1e-4)

    assert run_command("export", str(experiment.folder)) == 2
    assert "expected a new or an empty folder" in capfd.readouterr().err


def test_fine_tuned_weights_are_preferred(experiment: Experiment, tmp_path: Path) -> None:
    tune(experiment, "uniform", 0)
    facts = export_one(silent, experiment.config, experiment.folder, "uniform", 0, tmp_path / "out")
    tuned = experiment.run("uniform", 0).finetuned()
    assert tuned is not None
    assert facts["weights"] == "fine-tuned"
    assert facts["accuracy"]["finetuned_test"] == tuned.model_dump()["test"]
    assert facts["origin"]["finetuning"] == tuned.settings
    from safetensors.torch import load_file

    trained = load_file(experiment.run("uniform", 0).finetuned_weights_path)
    exported = files.load(tmp_path / "out").state_dict()
    assert all(torch.equal(exported[key], tensor) for key, tensor in trained.items())
    assert Exported(experiment.run("uniform", 0), tmp_path, facts).lines()[1] == "weights     fine-tuned"


def test_which_run(experiment: Experiment) -> None:
    assert choose(experiment, None, None).name == "random seed 1"
    assert choose(experiment, "uniform", None).name == "uniform seed 1"
    assert choose(experiment, None, 0).name == "random seed 0"
    assert choose(experiment, "uniform", 0).name == "uniform seed 0"
    best = experiment.run("random", 1)
    fake.amend(best, status="running")
    assert choose(experiment, None, None).name == "uniform seed 1"
    with pytest.raises(ConfigError, match="agent 'random' seed 1: expected a finished run"):
        choose(experiment, "random", 1)
    with pytest.raises(TaskError, match="did you mean 'random'"):
        choose(experiment, "randon", None)
    with pytest.raises(ConfigError, match="seed 2: expected one of 0 to 1"):
        choose(experiment, None, 2)


def test_of_equally_accurate_runs_the_lower_loss_decides(experiment: Experiment) -> None:
    losses = []
    for run in experiment.runs():
        (line,) = run.lines()
        fake.put_lines(run, [line.model_dump() | {"accuracy": 0.5}])
        losses.append((line.loss, run.name))
    assert choose(experiment, None, None).name == min(losses)[1]


def test_where_it_fails_nothing_is_left(experiment: Experiment, tmp_path: Path) -> None:
    run = experiment.run("random", 1)
    (line,) = run.lines()
    fake.put_lines(run, [line.model_dump() | {"loss": line.loss / 2}])
    before = sorted(tmp_path.rglob("*"))
    for out in (None, tmp_path / "not" / "yet"):
        with pytest.raises(JobError, match="are not those of the search"):
            export(experiment, out=out, display=Lines())
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--agent nobody", "agent 'nobody' is unknown"),
        ("--seed 7", "seed 7: expected one of 0 to 1"),
        ("--seed x", "'x' is not a valid integer"),
        ("--out {folder}", "expected a new or an empty folder"),
        ("--out {folder}/manifest.json", "expected a new or an empty folder"),
    ],
)
def test_wrong_input_is_answered_in_one_line(
    arguments: str, words: str, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(experiment.folder.rglob("*"))
    assert run_command("export", str(experiment.folder), *arguments.format(folder=experiment.folder).split()) == 2
    assert words in (line := capsys.readouterr().err)
    assert line.count("\n") == 1
    assert sorted(experiment.folder.rglob("*")) == before


def test_what_is_printed(experiment: Experiment) -> None:
    test = {"accuracy": 0.7861, "loss": 1.0}
    latency = {"seconds": [0.051, 0.052, 0.053], "dense_seconds": [0.119, 0.12, 0.122], "images": 100}
    facts = {"weights": "fine-tuned", "macs": 1_000_000, "parameters": 8_000, "dense": DENSE, "latency": latency}
    facts |= {"accuracy": {"test": test, "finetuned_test": {"accuracy": 0.952, "loss": 0.1}}}
    facts |= {"onnx": {"largest_difference": 3.14e-6, "images": 500}}
    assert Exported(experiment.run("random", 1), Path("somewhere"), facts).lines() == [
        "random seed 1: somewhere",
        "weights     fine-tuned",
        "MACs        1,000,000  50.0 % of the dense network's",
        "parameters  8,000  40.0 % of the dense network's",
        "test split  95.20 %, dense 80.00 %",
        "latency     0.520 ms per image (IQR 0.510-0.530), dense 1.20 ms (1.19-1.22): 43.3 %",
        "ONNX        largest difference of an output 3.1e-06 (500 images)",
    ]


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code
