"""The command as functions, for Python, thin and with plain signatures. See docs/python.md.

The work is done in processes that import the calling script anew, so a script calls these functions under
``if __name__ == "__main__":``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from prunebench.harness.display import display
from prunebench.harness.errors import ConfigError, HarnessError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.record import folders, merging, store
from prunebench.harness.record.findings import Finding
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import bench as benches
from prunebench.harness.running import plan as plans
from prunebench.harness.running import score as scoring
from prunebench.harness.running import sessions
from prunebench.harness.running import verify as verifying
from prunebench.harness.running.plan import Plan

if TYPE_CHECKING:
    from torch import nn

    from prunebench.harness.prune.result import Pruned

__all__ = [
    "Experiment",
    "ExperimentConfig",
    "bench",
    "export",
    "find",
    "finetune",
    "load",
    "merge",
    "prune",
    "report",
    "score",
    "table",
    "verify",
]

find = folders.find


@overload
def bench(
    what: ExperimentConfig, out: str | Path | None = None, jobs: int | None = None, add_agents: bool = False
) -> Experiment: ...


@overload
def bench(what: str | Path, out: str | Path | None = None, jobs: int | None = None) -> list[Experiment]: ...


def bench(
    what: ExperimentConfig | str | Path,
    out: str | Path | None = None,
    jobs: int | None = None,
    add_agents: bool = False,
) -> Experiment | list[Experiment]:
    """Run what is still missing of an experiment, or of the experiments in a file.

    Args:
        what: an experiment's configuration, whose agents are taken as they are; or the path of a file, as for
            ``prunebench bench FILE``.
        out: the experiment's folder, or the one that holds those of several; as the command chooses it where None.
        jobs: runs at a time; as many as there are cores for where None.
        add_agents: whether agents of a configuration may join the experiment that ``out`` holds.

    Returns:
        The experiment, or those of the file in order. Runs that failed are in it: see the statuses of ``runs()``.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it. One of several experiments does not cost the others.
        prunebench.harness.processes.local.JobCrash: the preparation failed for another reason.
    """
    from prunebench.harness.report.tables import table_list

    if isinstance(what, ExperimentConfig):
        configs.check(what)
        folder = configs.default_folder(what) if out is None else Path(out).expanduser()
        plan = Plan([Experiment(folder, what)], Execution(jobs), adding=add_agents)
    elif add_agents:
        raise ConfigError(f"add_agents: expected a configuration, not a file, {str(what)!r}")
    else:
        given = {"out": None if out is None else str(out), "jobs": jobs}
        plan = plans.plan(Path(what).expanduser(), {name: value for name, value in given.items() if value is not None})
    command = f"prunebench.harness.api.bench({str(what)!r})"
    outcomes = list(sessions.run(plan, command, tables=table_list.rebuild, work=benches.bench))
    if problems := [f"{o.experiment.folder}: {o.problem}" for o in outcomes if o.problem is not None]:
        raise HarnessError("; ".join(problems))
    experiments = [outcome.session.experiment for outcome in outcomes if outcome.session is not None]
    return experiments[0] if isinstance(what, ExperimentConfig) else experiments


def load(folder: str | Path) -> Experiment:
    """The experiment in a folder, finished or not.

    Raises:
        ConfigError: there is none.
        StoreError: its configuration is damaged.
    """
    return store.load(Path(folder))


def merge(experiments: Sequence[Experiment], out: str | Path) -> Experiment:
    """Copy the runs of several experiments of one task into a new one, in a new or empty folder, and return it.

    Raises:
        HarnessError: they are not of one task, or contradict each other, see
            :func:`prunebench.harness.record.merging.merge`; nothing was written.
    """
    folder = Path(out).expanduser()
    merging.merge(experiments, folder, f"prunebench.harness.api.merge(..., {str(out)!r})")
    return store.load(folder)


def table(experiments: Experiment | Sequence[Experiment], form: str = "terminal") -> str:
    """The table of one or several experiments as ``terminal``, ``markdown``, ``csv`` or ``latex``.

    Raises:
        TaskError: there is no such form.
        StoreError: a file of an experiment is damaged.
    """
    from prunebench.envs.errors import check_choice
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables import table_list

    check_choice("form", form, table_list.FORMATS)
    return table_list.render(Results(_several(experiments)), form)


def _several(experiments: Experiment | Sequence[Experiment]) -> Sequence[Experiment]:
    return [experiments] if isinstance(experiments, Experiment) else experiments


def report(
    experiments: Experiment | Sequence[Experiment],
    path: str | Path | None = None,
    *,
    reference: str | None = None,
    targets: Sequence[float] = (),
    claims: str | Path | None = None,
) -> Path:
    """Write tables, figures and the report of one or several experiments.

    See :class:`prunebench.harness.analysis.results.Results` and :func:`prunebench.harness.report.page.write`.
    """
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report import page as reports

    results = Results(_several(experiments), reference, targets, None if claims is None else Path(claims))
    return reports.write(results, None if path is None else Path(path))


def finetune(experiment: Experiment, epochs: float | None = None, jobs: int | None = None) -> dict[str, str]:
    """Train the networks of an experiment's finished runs on; returns the runs that failed, and why.

    Args:
        experiment: whose runs.
        epochs: passes over the training split; None is a quarter of the dense network's.
        jobs: runs at a time; as many as there are cores for where None.

    Raises:
        HarnessError, TaskError: the user can mend it; nothing was written.
    """
    from prunebench.harness.experiments.config import FinetuneSettings
    from prunebench.harness.running.finetune import finetune as work

    at_once = Execution(jobs).at_once(experiment.config)
    with display() as shown:
        return work(experiment, FinetuneSettings(epochs), jobs=at_once, display=shown).failed


def export(
    experiment: Experiment, agent: str | None = None, seed: int | None = None, out: str | Path | None = None
) -> Path:
    """Write the pruned network of one run as safetensors and ONNX, and return the folder.

    Args:
        experiment: whose run.
        agent: the agent's label; None leaves the choice to the accuracy on the reward split.
        seed: the run's seed; None is that of the best run.
        out: the folder; None is one in the experiment's.

    Raises:
        HarnessError, TaskError: the user can mend it; nothing was written.
    """
    from prunebench.harness.running.export import export as work

    with display() as shown:
        return work(
            experiment, agent=agent, seed=seed, out=None if out is None else Path(out).expanduser(), display=shown
        ).folder


def score(
    policy: Sequence[float] | Mapping[str, Sequence[float]] | str | Path,
    config: ExperimentConfig | Experiment,
    clip: bool = False,
) -> dict[str, Any]:
    """Score one policy on the reward split; nothing is written but the cache.

    Args:
        policy: preserve ratios, a mapping with ``ratios`` or ``channels``, or the path of a file with one of these.
        config: task and budget, or an experiment that has them.
        clip: whether the policy is realised within the budget, as in a search; else as it is.

    Returns:
        ``channels``, ``realised`` (ratios), ``accuracy``, ``loss``, ``macs``, ``parameters``, ``cost`` (of what is
        limited, as a fraction of the dense network's), ``feasible``, ``layers`` (names), ``dense`` (channels, macs,
        parameters), and what else the environment says of an evaluation.

    Raises:
        HarnessError, TaskError, BudgetError: the policy is not one of this network, or the task cannot be set up.
    """
    config = scoring.settings(config) if isinstance(config, Experiment) else config
    configs.check(config)
    wanted = scoring.read(Path(policy).expanduser()) if isinstance(policy, str | Path) else scoring.checked(policy)
    with display() as shown:
        return scoring.score(wanted, config, clip=clip, display=shown)


def verify(
    folder: str | Path | Experiment, data: str | Path | None = None, weights: str | Path | None = None
) -> list[Finding]:
    """Make again what an experiment's files say, and return what is wrong; nothing is written.

    Args:
        folder: the experiment's, or the experiment.
        data: where its images are here, if not where they were.
        weights: where the dense network's checkpoint is here, likewise.

    Raises:
        HarnessError: there is no experiment, or its networks cannot be scored here.
        prunebench.harness.processes.local.JobCrash: it failed for another reason.
    """
    from prunebench.harness.report import recomputed

    experiment = folder if isinstance(folder, Experiment) else load(folder)
    with display() as shown:
        found = verifying.verify(experiment, data=data, weights=weights, tables=recomputed.compare, display=shown)
    if found.problem is not None:
        raise HarnessError(found.problem)
    return found.findings


def prune(
    model: str | nn.Module,
    data: Any = "digits",
    *,
    preserve: float | None = None,
    macs: float | str | None = None,
    params: float | str | None = None,
    latency_ms: float | str | None = None,
    agent: str = "adaptive_clustered_bo",
    evaluations: int = 100,
    epochs: float | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    **settings: Any,
) -> Pruned:
    """Prune one network to a budget: search, fine-tune, export, time. The same call again goes on where it stopped.

    Args:
        model: the dense network, trained: a live module, or a name as for ``--model``.
        data: the name of a data set as for ``--dataset``; or a mapping with ``train``, ``test`` and, if any, ``reward``
            and ``classes``, or the pair ``(train, test)``. A split is ``(pixels, labels)`` of arrays or tensors, or a
            torch data set. Pixels are bytes, ``(N, S, S, 3)`` or ``(N, 3, S, S)``, or floating-point numbers made of
            bytes, as ``ToTensor`` and ``Normalize`` do.
        preserve: the budget as a fraction of the dense network's cost. One of the four budgets is given; without any
            it is half of the MACs.
        macs: the budget in MACs per image, as ``150e6`` or ``"150M"``.
        params: the budget in parameters.
        latency_ms: the budget in milliseconds per image, as the search times networks (in batches).
        agent: what searches, with its options, as for ``--agents``.
        evaluations: policies that it may try.
        epochs: passes over the training images in fine-tuning; None is a quarter of the dense network's.
        threads: of the search and of what is timed.
        out: the folder of all files; by default one in ``results/``, named after network, data and budget.
        **settings: other settings of the task or the budget, as ``weights="net.pt"``, ``scope="all"``,
            ``cost="parameters"``; ``mean`` and ``std`` say how the network's images are normalised.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it.
        prunebench.harness.processes.local.JobCrash: it failed for another reason.
    """
    from prunebench.harness.prune import handover

    return handover.prune(
        model,
        data,
        {"preserve": preserve, "macs": macs, "params": params, "latency_ms": latency_ms},
        agent=agent,
        evaluations=evaluations,
        epochs=epochs,
        threads=threads,
        out=None if out is None else Path(out).expanduser(),
        settings=settings,
    )
