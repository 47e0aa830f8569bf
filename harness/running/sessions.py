"""Several experiments, one after another: what goes wrong with one does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.harness.display import Display, display
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import ahead, registry
from prunebench.harness.experiments import config as configs
from prunebench.harness.processes.local import Function, JobCrash, Processes
from prunebench.harness.record import store
from prunebench.harness.running import bench as benches
from prunebench.harness.running import plan as plans
from prunebench.harness.running.checking import CHECK_AHEAD, check_ahead

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.store import Experiment
    from prunebench.harness.running.bench import Session
    from prunebench.harness.running.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """What became of one experiment: its session and results, or the reason why there is none, in one line."""

    experiment: Experiment
    session: Session | None = None
    problem: str | None = None
    results: Results | None = None

    @property
    def failed(self) -> bool:
        """Whether something is missing."""
        return self.session is None or bool(self.session.failed)


def run(
    plan: Plan,
    command: str,
    *,
    tables: Callable[[Path], Results],
    work: Callable[..., Session] = benches.bench,
    check: Function = CHECK_AHEAD,
    show: Callable[[], Display] = display,
) -> Iterator[Outcome]:
    """Run what a plan's experiments are still missing, and yield each as it ends.

    Args:
        plan: of :func:`prunebench.harness.running.plan.plan`.
        command: as it was typed.
        tables: rebuilds the tables of the experiment in a folder, when its runs have ended, and returns its results.
        work: runs one experiment.
        check: runs in a process before the first of several experiments, on all that are not done.
        show: makes a display, one for every experiment.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it, and it was found before anything was written: with
            the only experiment, or by the check of several.
        JobCrash: a process failed for another reason.
    """
    left = [len(plans.missing(experiment)) for experiment in plan.experiments]
    if len(left) > 1 and any(left):
        unfinished = [e.config for e, runs in zip(plan.experiments, left, strict=True) if runs]
        with show() as shown:
            _check(unfinished, check, shown)
    for number, experiment in enumerate(plan.experiments):
        settings: dict[str, Any] = {
            "execution": plan.execution,
            "command": command,
            "others": (sum(left[:number]), sum(left[number + 1 :])),
            "adding": plan.adding,
        }
        try:
            config: ExperimentConfig | None = experiment.config
            while config is not None:
                with show() as shown:
                    if not plan.adding and experiment.yaml_path.is_file():
                        _say_controls(store.load(experiment.folder).config, shown)
                    session = work(config, experiment.folder, display=shown, **settings)
                    results = _tables(tables, experiment, session)
                    config = _more(results, session, shown)
            outcome = Outcome(experiment, session, results=results)
        except (*USER_ERRORS, OSError, JobCrash) as error:
            if len(left) == 1:
                raise
            outcome = Outcome(experiment, problem=(str(error) or type(error).__name__).splitlines()[0])
        yield outcome


def _say_controls(config: ExperimentConfig, display: Display) -> None:
    known = {agent.name for agent in config.agents}
    if lacking := [name for name in registry.CONTROLS if name not in known]:
        display.say(f"this experiment was created without {', '.join(lacking)}: --add-agents adds such a control")


def _tables(tables: Callable[[Path], Results], experiment: Experiment, session: Session) -> Results | None:
    try:
        return tables(experiment.folder)
    except OSError as error:
        session.failed["tables"] = str(error)
        return None


def _more(results: Results | None, session: Session, shown: Display) -> ExperimentConfig | None:
    """The experiment with more seeds, where its looks ask for them."""
    if results is not None and results.experiment.config.looks and session.failed:
        shown.say("no look: some of it failed; the same command goes on")
    found = None if results is None or session.failed else next_runs(results)
    if found is None:
        return None
    config, told = found
    shown.say(told)
    return config


def next_runs(results: Results) -> tuple[ExperimentConfig, str] | None:
    """The experiment with the seeds of its next look, for agents whose comparisons are open, and a line about it.

    None where all is decided, the last look is over, or there was none to come.

    Args:
        results: of the experiment, all of whose runs have ended.
    """
    from prunebench.harness.analysis import sequential  # pandas takes a second: not before runs are on their way

    config = results.experiment.config
    waiting = sequential.open_agents(results.differences) if config.looks else []
    if not waiting:
        return None
    reached = min(len(config.all_seeds_of(label)) for label in waiting)
    later = [look for look in config.looks if look > reached]
    if not later:
        return None
    told = f"look at {reached} seeds: not decided for {', '.join(waiting)}; they go on to {later[0]} seeds"
    return configs.grown(config, {label: range(later[0]) for label in waiting}), told


def _check(unfinished: list[ExperimentConfig], check: Function, shown: Display) -> None:
    agents = [agent for config in unfinished for agent in config.agents]
    with Processes(unfinished[0].threads, ahead.modules(agents)) as processes:
        check_ahead(processes, unfinished, shown, check)
