"""What ``import prunebench`` offers: the command as functions, thin and with plain signatures. See docs/python.md.

The work is done in processes that import the calling script anew, so a script calls these functions under
``if __name__ == "__main__":``. A notebook needs nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from prunebench.envs.errors import check_choice
from prunebench.envs.networks import models
from prunebench.harness.dense import train_settings
from prunebench.harness.display import display
from prunebench.harness.errors import HarnessError
from prunebench.harness.experiments import agentspec, grid, gridfile
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.keywords import in_keywords
from prunebench.harness.record import folders as searched
from prunebench.harness.record import merging, store
from prunebench.harness.record.findings import Finding
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import bench as benches
from prunebench.harness.running import plan as plans
from prunebench.harness.running import score as scoring
from prunebench.harness.running import sessions
from prunebench.harness.running import verify as verifying
from prunebench.harness.seeds import parse
from prunebench.harness.settings import AgentLike, BenchSettings, BudgetSettings, PruneSettings, TrainingSettings

if TYPE_CHECKING:
    from torch import nn

    from prunebench.harness.dense.trained import Trained
    from prunebench.harness.prune.result import Pruned
    from prunebench.harness.report.bench_results import BenchResults

_ASIDE = ("until_decided", "max_seeds", "claims", "add_agents")  # settings that no file has


@in_keywords()
def bench(file: str | Path | None = None, **settings: Unpack[BenchSettings]) -> BenchResults:
    """Run every agent with every seed, as ``prunebench bench`` does. The same call again goes on where it stopped.

    Args:
        file: a YAML file of settings; keywords take the place of what it says.
        **settings: the command's options by their names, all of them optional. The most common:

            - ``model``: the network: a name, or a function of your own; a list is an experiment each
            - ``dataset`` and ``data``, ``weights``: the images and where they are, the dense network's checkpoint
            - ``agents``: names as on the command line, or classes; the controls join
            - ``seeds``, ``evaluations``: how many runs of each agent, and how many policies each may try
            - ``preserve``: the budget, as a fraction of the dense network's cost; a list is an experiment each
            - ``jobs``: runs at a time
            - ``out``: the experiment's folder

    Returns:
        What was found, of runs that were there before too. Runs that failed do not raise: see ``failed``, and the
        column ``error`` of ``runs``.

    Raises:
        ValueError: the user can mend it (HarnessError, TaskError, BudgetError); one line says what is wrong.
        prunebench.harness.processes.local.JobCrash: the preparation failed for another reason.
    """
    from prunebench.harness.report.tables import table_list

    plan = plans.asked(None if file is None else Path(file).expanduser(), _given(settings))
    outcomes = list(sessions.run(plan, _call(file, settings), tables=table_list.rebuild, work=benches.bench))
    if problems := [f"{o.experiment.folder}: {o.problem}" for o in outcomes if o.problem is not None]:
        raise HarnessError("; ".join(problems))
    done = [outcome.session for outcome in outcomes if outcome.session is not None]
    failed = {name: why for session in done for name, why in session.failed.items()}
    return _results([session.experiment for session in done], failed=failed)


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as ``prunebench bench`` has them from its options."""
    aside = {name: settings[name] for name in _ASIDE if name in settings}
    given = gridfile.keywords({name: value for name, value in settings.items() if name not in aside}, "bench:")
    if given.get("agents") and not aside.get("add_agents"):
        given["agents"] = configs.with_controls(given["agents"])
    return given | aside


def _call(file: str | Path | None, settings: Mapping[str, Any]) -> str:
    given = [*([repr(str(file))] if file is not None else []), *(f"{name}={settings[name]!r}" for name in settings)]
    return f"prunebench.bench({', '.join(given)})"


@in_keywords()
def load_results(
    *folders: str | Path,
    reference: str | None = None,
    targets: Sequence[float] = (),
    claims: str | Path | None = None,
    seeds: int | str | None = None,
) -> BenchResults:
    """The results in folders, of finished experiments or not.

    Args:
        *folders: each an experiment's, or one that holds some; none is the newest experiment under ``results/``.
        reference: the agent that others are compared with; the last one named where None.
        targets: accuracies (%): the report says how long each agent took to reach them.
        claims: a YAML file of your own claims, which take the place of the published ones.
        seeds: of the runs that count: how many (5: 0 to 4) or which (``"5-9"``); None for all.

    Raises:
        ValueError: there is no experiment, a file of one is damaged, or an argument is wrong.
    """
    own = None if claims is None else Path(claims).expanduser()
    numbers = None if seeds is None else parse(seeds)
    return _results(searched.find(folders), reference, targets, own, numbers)


def _results(
    experiments: Sequence[Experiment],
    reference: str | None = None,
    targets: Sequence[float] = (),
    claims: Path | None = None,
    seeds: Collection[int] | None = None,
    failed: Mapping[str, str] | None = None,
) -> BenchResults:
    from prunebench.harness.analysis.results import Results  # pandas takes a second
    from prunebench.harness.report.bench_results import BenchResults

    return BenchResults(Results(experiments, reference, targets, claims, seeds), failed)


def _experiment(source: str | Path | BenchResults) -> Experiment:
    return store.load(Path(source)) if isinstance(source, str | Path) else source.experiment


@in_keywords()
def merge(*sources: str | Path | BenchResults, out: str | Path) -> BenchResults:
    """Copy the runs of several experiments of one task into a new one, in a new or empty folder.

    Args:
        *sources: folders, each of an experiment or holding some, or results.
        out: the new experiment's folder.

    Raises:
        ValueError: they are not of one task, or contradict each other, see
            :func:`prunebench.harness.record.merging.merge`; nothing was written.
    """
    parts = [
        part
        for source in sources
        for part in (searched.find([source]) if isinstance(source, str | Path) else source.experiments)
    ]
    folder = Path(out).expanduser()
    merging.merge(parts, folder, f"prunebench.merge(..., out={str(out)!r})")
    return _results([store.load(folder)])


@in_keywords(dataset="data", data="folder")
def train(
    model: str | Callable[..., Any],
    data: str | Callable[..., Any] = "digits",
    *,
    out: str | Path,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch: int = 128,
    seed: int = 0,
    threads: int | None = None,
    **settings: Unpack[TrainingSettings],
) -> Trained:
    """Train a dense network from random weights, as ``prunebench train`` does. The same call again goes on.

    Args:
        model: the network: a name as for ``--model``, or a function of your own.
        data: the name of a data set as for ``--dataset``, or a function of your own.
        out: the checkpoint, for ``weights`` of the other functions; an existing file is never overwritten.
        epochs: passes over the training images; None is the data set's own number.
        learning_rate: the largest one; None is 0.1 for 128 images per step, in proportion to them.
        batch: training images per step.
        seed: of the random weights, the order of images, their crops and mirror images.
        threads: of the process; None is as many as there are cores.
        **settings: other settings of the command, as ``mean``, ``std``, ``flips``, ``image_size``, ``split_seed``,
            ``device``; ``folder`` is what ``--data`` is to the command.

    Returns:
        The checkpoint's ``path``, its ``accuracy`` on the reward and the test split, and all ``facts``.

    Raises:
        ValueError: the user can mend it; no checkpoint was written.
        prunebench.harness.processes.local.JobCrash: it failed for another reason.
    """
    from prunebench.harness.running.train import train as work

    for name in settings:
        check_choice("setting", name, TrainingSettings.__annotations__)
    named = {("data" if name == "folder" else name): value for name, value in settings.items()}
    task = grid.unchecked(gridfile.keywords({"model": model, "dataset": data} | named, "train:")).task
    chosen = train_settings.TrainSettings(epochs, learning_rate, batch, seed, threads)
    with display() as shown:
        return work(task, chosen, Path(out).expanduser(), shown)


@in_keywords()
def finetune(
    source: str | Path | BenchResults,
    epochs: float | None = None,
    jobs: int | None = None,
    device: str | None = None,
    agents: str | Collection[str] | None = None,
    seeds: int | str | None = None,
) -> dict[str, str]:
    """Train the networks of an experiment's finished runs on; returns the runs that failed, and why.

    Args:
        source: the experiment's folder, or its results.
        epochs: passes over the training split; None is a quarter of the dense network's.
        agents: those whose networks are trained on, as the table names them; all where None.
        seeds: of their runs, how many or which, as :func:`bench` takes them; all where None.
        jobs: runs at a time; as many as there are cores for where None.
        device: where networks run here, if not where they were searched.

    Raises:
        ValueError: the user can mend it; nothing was written.
    """
    from prunebench.harness.experiments.config import FinetuneSettings
    from prunebench.harness.running.finetune import finetune as work

    labels = [agent.label for agent in agentspec.parse(agents)] if isinstance(agents, str) else agents
    experiment = _experiment(source).on(device)
    at_once = Execution(jobs).at_once(experiment.config)
    with display() as shown:
        return work(
            experiment,
            FinetuneSettings(epochs),
            agents=labels,
            seeds=None if seeds is None else parse(seeds),
            jobs=at_once,
            display=shown,
        ).failed


@in_keywords()
def export(
    source: str | Path | BenchResults,
    agent: str | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
) -> Path:
    """Write the pruned network of one run as safetensors and ONNX, and return the folder.

    Args:
        source: the experiment's folder, or its results.
        agent: the agent's label; None leaves the choice to the accuracy on the reward split.
        seed: the run's seed; None is that of the best run.
        out: the folder; None is one in the experiment's.
        device: where networks run here, if not where they were searched.

    Raises:
        ValueError: the user can mend it; nothing was written.
    """
    from prunebench.harness.running.export import export as work

    folder = None if out is None else Path(out).expanduser()
    with display() as shown:
        return work(_experiment(source).on(device), agent=agent, seed=seed, out=folder, display=shown).folder


@in_keywords()
def score(
    policy: Sequence[float] | Mapping[str, Sequence[float]] | str | Path,
    source: str | Path | BenchResults | None = None,
    *,
    clip: bool = False,
    **settings: Unpack[BudgetSettings],
) -> dict[str, Any]:
    """Score one policy on the reward split; nothing is written but the cache.

    Args:
        policy: preserve ratios, a mapping with ``ratios`` or ``channels``, or the path of a file with one of these.
        source: an experiment whose settings are used: its folder, or its results.
        clip: whether the policy is realised within the budget, as in a search; else as it is.
        **settings: without ``source``: network, data and budget, as for :func:`bench`; with it only ``device``, where
            the network runs here, if not where it was searched.

    Returns:
        ``channels``, ``realised`` (ratios), ``accuracy``, ``loss``, ``macs``, ``parameters``, ``cost`` (of what is
        limited, as a fraction of the dense network's), ``feasible``, ``layers`` (names), ``dense`` (channels, macs,
        parameters), and what else the environment says of an evaluation.

    Raises:
        ValueError: the policy is not one of this network, or the task cannot be set up.
    """
    device = None if source is None else settings.pop("device", None)
    if source is not None and settings:
        raise HarnessError(f"score: the settings are those of the experiment: leave out {', '.join(settings)}")
    given = gridfile.keywords(settings, "score:")
    config = grid.single(given) if source is None else scoring.settings(_experiment(source).on(device))
    configs.check(config)
    wanted = scoring.read(Path(policy).expanduser()) if isinstance(policy, str | Path) else scoring.checked(policy)
    with display() as shown:
        return scoring.score(wanted, config, clip=clip, display=shown)


@in_keywords()
def verify(
    source: str | Path | BenchResults,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
) -> list[Finding]:
    """Make again what an experiment's files say, and return what is wrong; nothing is written.

    Args:
        source: the experiment's folder, or its results.
        data: where its images are here, if not where they were.
        weights: where the dense network's checkpoint is here, likewise.
        device: where networks run here, if not where they were searched.

    Returns:
        What is wrong, an object each with ``file``, ``field``, ``says`` and ``found``; empty where all is right.

    Raises:
        ValueError: there is no experiment, or its networks cannot be scored here.
        prunebench.harness.processes.local.JobCrash: it failed for another reason.
    """
    from prunebench.harness.report import recomputed

    with display() as shown:
        found = verifying.verify(
            _experiment(source),
            data=data,
            weights=weights,
            device=device,
            tables=recomputed.compare,
            display=shown,
        )
    if found.problem is not None:
        raise HarnessError(found.problem)
    return found.findings


@in_keywords(dataset="data", data="folder", agents="agent")
def prune(
    model: str | nn.Module,
    data: Any = "digits",
    *,
    preserve: float | None = None,
    macs: float | str | None = None,
    params: float | str | None = None,
    latency_ms: float | str | None = None,
    agent: AgentLike = "adaptive_clustered_bo",
    evaluations: int = 100,
    epochs: float | None = None,
    threads: int = 1,
    out: str | Path | None = None,
    **settings: Unpack[PruneSettings],
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
        agent: what searches: as for ``--agents``, with its options, or a class.
        evaluations: policies that it may try.
        epochs: passes over the training images in fine-tuning, 0 for none; None is a quarter of the dense network's.
        threads: of the search and of what is timed.
        out: the folder of all files; by default one in ``results/``, named after network, data and budget.
        **settings: other settings of the task or the budget, as ``weights="net.pt"``, ``scope="all"``,
            ``cost="parameters"``; ``folder`` is what ``--data`` is to the command; ``mean`` and ``std`` say how the
            network's images are normalised.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it.
        prunebench.harness.processes.local.JobCrash: it failed for another reason.
    """
    from prunebench.harness.prune import handover

    return handover.prune(
        models.named(model) if isinstance(model, str) else model,
        data,
        {"preserve": preserve, "macs": macs, "params": params, "latency_ms": latency_ms},
        agent=agent,
        evaluations=evaluations,
        epochs=epochs,
        threads=threads,
        out=None if out is None else Path(out).expanduser(),
        settings=settings,
    )
