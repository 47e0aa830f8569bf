"""Fine-tuning an experiment's runs with real processes: skips, refusals, failures, interruptions."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fake
import finished_runs
import pytest
import torch

from prunebench.envs.weights import export, training
from prunebench.harness import api, cli
from prunebench.harness.commands import finetune as finetune_command
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import FinetuneSettings
from prunebench.harness.inside.finetune import finetune_one, resolve
from prunebench.harness.processes.local import JobError
from prunebench.harness.record import store
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.status import FinetuneStatus
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import finetune as module
from prunebench.harness.running.bench import Session
from prunebench.harness.running.finetune import finetune

SETTINGS = FinetuneSettings(1, 0.01)
KEYS = ["schema", "agent", "seed", "status", "settings", "channels", "test", "seconds", "error"]

pytestmark = pytest.mark.usefixtures("finished_runs_server")


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def state(run: Run) -> str | None:
    found = run.finetuned()
    return found and found.state


def one(experiment: Experiment, report: Any = lambda *values: None, **changes: Any) -> FinetuneStatus:
    settings = resolve(report, experiment.config, SETTINGS) | changes
    finetune_one(report, experiment.config, experiment.folder, "random", 1, settings)
    found = experiment.run("random", 1).finetuned()
    assert found is not None
    return found


def test_every_finished_run_is_trained_on_once(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = experiment.run("uniform", 1)
    fake.amend(waiting, status="running")
    session = finetune(experiment, SETTINGS, jobs=2, display=Lines())
    assert not session.failed
    said = capsys.readouterr().err
    assert "fine-tuning 3 of 3 finished runs: 1 epochs, learning rate 0.01" in said
    assert waiting.finetuned() is None
    for run in module.finished(experiment):
        found = run.finetuned()
        assert found is not None
        written = json.loads(run.finetune_path.read_text())
        assert list(written) == KEYS
        assert (written["agent"], written["seed"], written["status"]) == (run.agent, run.seed, "done")
        assert (found.state, found.channels) == ("done", run.lines()[0].channels)
        before = run.status().test
        assert before is not None
        assert found.test is not None
        assert f"{run.name}: test {100 * before.accuracy:.2f} % -> {100 * found.test.accuracy:.2f} %" in said
        assert run.finetuned_weights_path.exists()
        assert not run.finetune_state_path.exists()

    before_again = files(experiment.folder)
    again = finetune(experiment, SETTINGS, jobs=2, display=Lines())
    assert not again.seconds
    assert files(experiment.folder) == before_again

    for other, words in (
        (FinetuneSettings(1, 0.02), "learning-rate is 0.01, not 0.02"),
        (FinetuneSettings(None, 0.01), "epochs is 1.0, not 7.5"),
    ):
        with pytest.raises(ConfigError, match=words):
            finetune(experiment, other, jobs=2, display=Lines())
    assert files(experiment.folder) == before_again


def test_runs_that_fail_do_not_stop_the_others(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    session = finetune(experiment, SETTINGS, jobs=2, display=Lines(), work=finished_runs.some_fail)
    assert set(session.failed) == {"uniform seed 0", "uniform seed 1"}
    assert "SIGKILL" in session.failed["uniform seed 0"]
    assert "expected a smaller one" in session.failed["uniform seed 1"]
    statuses = {run.name: state(run) for run in experiment.runs()}
    assert statuses == dict.fromkeys(session.failed, "failed") | {"random seed 0": "done", "random seed 1": "done"}
    assert "uniform seed 0: failed: the process was killed" in capsys.readouterr().err
    module._meet(experiment, experiment.runs()[:1], {"learning_rate": 5.0}, "")  # failed ones may be tried otherwise


def test_some_agents_and_seeds_alone(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    work = {"jobs": 1, "display": Lines(), "work": finished_runs.some_fail}
    assert not finetune(experiment, SETTINGS, agents=["random"], seeds=(1, 7), **work).failed
    assert "fine-tuning 1 of 1 finished runs" in capsys.readouterr().err
    assert [run.name for run in experiment.runs() if run.finetuned()] == ["random seed 1"]
    status = experiment.run("random", 1).finetuned()
    assert status is not None
    older = {name: value for name, value in status.settings.items() if name != "device"}
    module._meet(experiment, experiment.runs(), older | {"device": "cpu"}, "")
    with pytest.raises(ConfigError, match="device is cpu, not cuda"):
        module._meet(experiment, experiment.runs(), status.settings | {"device": "cuda"}, "")
    experiment.run("random", 1).write_finetuned(status.model_copy(update={"settings": older}))
    module._meet(experiment, experiment.runs(), status.settings | {"device": "cuda"}, "")  # it did not say it
    with pytest.raises(ConfigError, match=r"learning-rate is 0\.01, not 0\.02"):  # for all runs of an experiment
        finetune(experiment, FinetuneSettings(1, 0.02), agents=["uniform"], **work)
    with pytest.raises(ConfigError, match="of these agents and seeds"):
        api.finetune(experiment.folder, 1, agents="random uniform", seeds="7-9", device="cpu")


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("other", [False, True])
def test_interrupted_it_goes_on_to_the_same_weights_and_only_with_its_settings(
    other: bool, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    run = experiment.run("random", 1)
    undisturbed = one(experiment, epochs=2.0)
    weights = run.finetuned_weights_path.read_bytes()
    run.finetune_path.unlink()
    run.finetuned_weights_path.unlink()
    steps: list[int] = []

    def report(what: str, done: int, total: int) -> None:
        if what == "fine-tuning":
            steps.append(done)
            if done == 3 and len(steps) == 3:
                raise Interrupted

    with pytest.raises(Interrupted):
        one(experiment, report, epochs=2.0)
    assert state(run) == "running"
    assert run.finetune_state_path.exists()
    with pytest.raises(ConfigError, match=r"other settings.*: name those again, or another --out"):
        module._meet(experiment, [run], undisturbed.settings | {"momentum": 0.5}, "another --out")
    older = {name: value for name, value in undisturbed.settings.items() if name != "device"}  # it did not say it
    begun = {"settings": {"epochs": 9} if other else older, "state": "running"}
    run.write_finetuned(undisturbed.model_copy(update=begun))
    resumed = one(experiment, report, epochs=2.0)
    assert steps[3:] == ([1, 2, 3, 4] if other else [3, 4])
    assert run.finetuned_weights_path.read_bytes() == weights
    assert resumed.test == undisturbed.test
    assert not run.finetune_state_path.exists()


def test_it_is_this_network_that_was_trained(experiment: Experiment) -> None:
    from prunebench.envs.evaluation.evaluator import score_batches
    from prunebench.envs.tasks import preparation

    found = one(experiment)
    evaluator = preparation.load_evaluator(experiment.config.task)
    model = evaluator.unfolded(found.channels)
    before = score_batches(model, evaluator.test_split())
    recorded = experiment.run("random", 1).status().test
    assert recorded is not None
    assert before.loss == pytest.approx(recorded.loss, rel=1e-4)
    export.put_weights(model, experiment.run("random", 1).finetuned_weights_path)
    after = score_batches(model, evaluator.test_split())
    assert found.test is not None
    assert after.accuracy == found.test.accuracy
    assert after.loss == pytest.approx(found.test.loss, rel=1e-4)
    assert before.loss != after.loss


def test_another_dense_network_is_noticed(experiment: Experiment) -> None:
    run = experiment.run("random", 1)
    line = run.lines()[0]
    fake.put_lines(run, [line.model_dump() | {"loss": line.loss * 1.01}])
    found = one(experiment)
    assert found.state == "failed"
    assert found.error is not None
    assert "are not those of the search" in found.error.message
    assert found.error.type == "StoreError"


def test_data_that_cannot_be_trained_on_are_refused_before_anything_is_written(
    experiment: Experiment, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(str(experiment.config.task.data), data)
    for number in range(20):
        for label in range(finished_runs.CLASSES):
            (data / "train" / f"class{label}" / f"{number}.png").unlink()
    text = experiment.yaml_path.read_text().replace(str(experiment.config.task.data), str(data))
    experiment.yaml_path.write_text(text)
    before = files(experiment.folder)
    with pytest.raises(JobError, match="52 training images: expected at least 64"):
        finetune(store.load(experiment.folder), SETTINGS, jobs=1, display=Lines())
    assert files(experiment.folder) == before


def test_data_sets_that_are_not_for_training_are_refused(finished: Experiment) -> None:
    task = dataclasses.replace(finished.config.task, dataset="imagenet")
    config = dataclasses.replace(finished.config, task=task)
    with pytest.raises(ConfigError, match="dataset 'imagenet' is not trained on"):
        resolve(lambda *values: None, config, SETTINGS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--epochs 0", "epochs 0: expected"),
        ("--epochs nan", "epochs nan: expected"),
        ("--learning-rate -1", "learning-rate -1: expected"),
        ("--learning-rate fast", "'fast' is not a valid float"),
        ("--jobs 0", "jobs 0: expected"),
        ("--agents unifrom", "agent 'unifrom' is unknown: expected one of random, uniform; did you mean 'uniform'?"),
        ("--seeds some", "seeds 'some': expected how many, as 5, or which"),
        ("--agents uniform --seeds 7,9", "expected a finished run with an incumbent of these agents and seeds"),
    ],
)
def test_wrong_input_is_answered_in_one_line(
    arguments: str, words: str, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(experiment.folder)
    assert run_command("finetune", str(experiment.folder), *arguments.split()) == 2
    assert words in (line := capsys.readouterr().err)
    assert line.count("\n") == 1
    assert files(experiment.folder) == before


def test_folders_without_finished_runs_are_refused(
    experiment: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run_command("finetune", str(tmp_path / "empty")) == 2
    assert "holds no experiment" in capsys.readouterr().err
    for run in experiment.runs():
        run.status_path.unlink()
    assert run_command("finetune", str(experiment.folder)) == 2
    assert "expected a finished run" in capsys.readouterr().err


def test_the_exit_code_tells_of_failures(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(experiment, failed={"random seed 1": "why"})
    monkeypatch.setattr(finetune_command, "finetune", lambda *_, **__: session)
    assert run_command("finetune", str(experiment.folder)) == 1
    assert f"failed: {experiment.folder}: random seed 1: why" in capsys.readouterr().err


def test_the_commands_import_no_torch() -> None:
    code = "import sys; from prunebench.harness.commands import export, finetune; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_weights_on_disk_are_those_of_the_network(experiment: Experiment) -> None:
    from safetensors.torch import load_file

    one(experiment)
    state = load_file(experiment.run("random", 1).finetuned_weights_path)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    assert state["layer1.0.conv1.weight"].shape[0] == experiment.run("random", 1).lines()[0].channels[0]
