"""Rebuilds the pruned network that a run ended with, times it, and writes it into files of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.evaluation import timing
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.task import load_data
from prunebench.envs.weights import export, onnx_timing
from prunebench.harness.files import read_json, write_json
from prunebench.harness.inside.prepare import Report, set_threads
from prunebench.harness.inside.rebuilt import rebuilt
from prunebench.harness.record.incumbents import incumbent
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from prunebench.envs.evaluation.evaluator import Evaluator
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run

_ROUNDS = 15  # of timing: enough for quartiles


def export_one(
    report: Report, config: ExperimentConfig, folder: Path, agent: str, seed: int, out: Path
) -> dict[str, Any]:
    """Rebuild one run's network, time it and write it, in a process of its own.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: the experiment's configuration.
        folder: the experiment's folder.
        agent: the agent's label.
        seed: the run's seed.
        out: the folder of the files, which is made.

    Returns:
        What ``network.json`` says.
    """
    set_threads(config.threads)
    experiment = Experiment(folder, config)
    run = experiment.run(agent, seed)
    preparation.ensure_prepared(config.task, report)
    evaluator = preparation.load_evaluator(config.task)
    line = incumbent(run)
    model = rebuilt(evaluator, line, run.name)
    facts = _facts(experiment, run, evaluator.layers["name"])
    if facts["weights"] == "fine-tuned":
        export.put_weights(model, run.finetuned_weights_path)
    facts["latency"] = _timed(evaluator, line.channels, config.threads, report)
    report("exporting", 0, 1)
    out.mkdir(parents=True)
    export.write(out, model, facts, evaluator.reward)
    report("exporting", 1, 1)
    return read_json(out / export.DESCRIPTION)


def export_and_time(
    report: Report, config: ExperimentConfig, folder: Path, agent: str, seed: int, out: Path
) -> dict[str, Any]:
    """As :func:`export_one`; and the dense and the pruned network's ONNX files are timed in onnxruntime.

    ``network.json`` gets ``onnxruntime``, an entry for a batch as it is timed in PyTorch and one for a single image:
    ``images`` (of the batch), ``threads``, ``rounds``, quartiles over rounds of ``seconds`` and ``dense_seconds`` (per
    batch), and ``kept``, of the quotients of each round's pair.
    """
    facts = export_one(report, config, folder, agent, seed, out)
    evaluator = preparation.load_evaluator(config.task)
    pixels = timing.timing_batch(evaluator).cpu().contiguous()
    with tempfile.TemporaryDirectory(dir=out) as place:
        dense = Path(place) / export.ONNX
        export.write_onnx(evaluator.unfolded(evaluator.dense).cpu().eval(), pixels, dense)
        files = (dense, out / export.ONNX)
        facts["onnxruntime"] = [_paired(files, batch.numpy(), config.threads, report) for batch in (pixels, pixels[:1])]
    write_json(out / export.DESCRIPTION, facts)
    return facts


def _paired(files: Sequence[Path], batch: NDArray[np.float32], threads: int, report: Report) -> dict[str, Any]:
    dense, pruned = onnx_timing.paired(files, batch, threads, _ROUNDS, report).T
    kept = pruned / dense
    quartiles = {
        name: np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
        for name, taken in (("seconds", pruned), ("dense_seconds", dense), ("kept", kept))
    }
    return {"images": len(batch), "threads": threads, "rounds": _ROUNDS, **quartiles}


def _facts(experiment: Experiment, run: Run, layers: list[str]) -> dict[str, Any]:
    """The description of a run's network but for what has yet to be measured."""
    data = load_data(experiment.config.task)
    status, tuned, line = run.status(), run.finetuned(), incumbent(run)
    done = tuned if tuned is not None and tuned.state == "done" and tuned.channels == line.channels else None
    facts = experiment.manifest()["task"]
    return {
        "model": experiment.config.task.model,
        "classes": list(data.classes),
        "input": {"channels": 3, "size": data.image_size},
        "normalisation": {"mean": list(data.mean), "std": list(data.std), "of": "pixels from 0 to 1, RGB"},
        "weights": "pruned" if done is None else "fine-tuned",
        "channels": {"layers": layers, "kept": line.channels, "dense": facts["channels"]},
        "macs": line.macs,
        "parameters": line.parameters,
        "accuracy": {
            "reward": {"accuracy": line.accuracy, "loss": line.loss},
            "test": status.test and status.test.model_dump(exclude={"hits"}),
            "finetuned_test": done and done.test and done.test.model_dump(),
        },
        "dense": {name: value for name, value in facts["dense"].items() if name != "test_hits"},
        "origin": _origin(experiment, run, line.index, facts) | {"finetuning": done and done.settings},
    }


def _origin(experiment: Experiment, run: Run, evaluation: int, facts: dict[str, Any]) -> dict[str, Any]:
    config = experiment.config
    names = ("dataset", "split_seed", "scope", "importance", "reconstruction")
    return {
        "experiment": experiment.folder.resolve().name,
        "agent": run.agent,
        "seed": run.seed,
        "evaluation": evaluation,
        "preserve": config.preserve,
        "cost": config.cost,
        **({} if config.limit is None else {"limit": config.limit}),
        **{name: getattr(config.task, name) for name in names},
        "weights_sha256": facts["weights_sha256"],
    }


def _timed(evaluator: Evaluator, channels: Sequence[int], threads: int, report: Report) -> dict[str, Any]:
    """Seconds per batch, quartiles over rounds, of the pruned and the dense network as they are scored."""
    bare = evaluator.folded()
    batch = timing.timing_batch(bare)
    taken = timing.whole_networks(bare, [bare.dense, channels], batch, _ROUNDS, report)
    dense, pruned = np.quantile(taken, (0.25, 0.5, 0.75), axis=0).T.tolist()
    return {"seconds": pruned, "dense_seconds": dense, "images": len(batch), "threads": threads, "rounds": _ROUNDS}
