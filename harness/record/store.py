"""The files of an experiment: where each lies, and how it is written.

experiment.yaml                              the configuration and the command that made it
manifest.json                                versions, machine, hashes, facts about the task
runs/<network>/<agent>/seed-<k>.jsonl        a line per evaluation (prunebench.harness.record.journal)
runs/<network>/<agent>/seed-<k>.json         the run's status
runs/<network>/<agent>/seed-<k>.finetune.json            what became of its incumbent by fine-tuning
(prunebench.harness.record.status)
runs/<network>/<agent>/seed-<k>.finetuned.safetensors    the weights
given/                                       a network and images that were handed over from Python
tables/                                      rebuilt from the above
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from prunebench.envs.choices import DEVICES
from prunebench.envs.errors import check_choice
from prunebench.envs.files import DRAFT
from prunebench.envs.networks import models
from prunebench.harness.errors import ConfigError, DamagedError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments import spoken
from prunebench.harness.experiments.agentspec import folder_name
from prunebench.harness.files import read_json
from prunebench.harness.record.run_files import Run

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig

NAME = "experiment.yaml"
"""The file that makes a folder an experiment's."""
GIVEN = "given"
"""The folder of an experiment that holds what was handed over from Python, as modules."""
_LOCK, _WORK = ".lock", ".work"  # what may be left behind, and means nothing


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on an experiment's folder while its configuration and manifest are changed.

    The lock is the kernel's and goes with the process that holds it; a run's lines have one of their own. It is on a
    file: a network file system may lock files for all machines, but folders for one.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Let whoever follows an experiment know that its runs are being done; nothing where there is none yet."""
    if not (folder / NAME).is_file():
        yield
        return
    handle = os.open(folder / _WORK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)  # several processes may be
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder and its configuration.

    Attributes:
        folder: of the experiment.
        config: as it is on disk, or wanted.
        origin: the folder from which its relative paths lead; the working folder where None.
        parts: experiments of one task that this one joins (:mod:`prunebench.harness.record.joined`). Its own folder
            is then its tables' and figures' alone: runs stay where they are.
        copies: of its parts' runs those that count, by label and seed.
    """

    folder: Path
    config: ExperimentConfig
    origin: Path | None = None
    parts: tuple[Experiment, ...] = ()
    copies: Mapping[tuple[str, int], Run] = field(default_factory=dict, hash=False, repr=False)

    def located(self) -> ExperimentConfig:
        """The configuration with paths that lead from the working folder: for whoever builds the network.

        A network that was given from Python is found from now on. It is code: whoever only reads never asks for it.
        """
        make_given_importable(self.folder, self.config)
        paths = configs.relative_paths(self.config)
        there: dict[str, Any] = {name: configs.placed(path, self.origin) for name, path in paths.items()}
        task = dataclasses.replace(self.config.task, **there)
        return dataclasses.replace(self.config, task=task)

    def on(self, device: str | None) -> Experiment:
        """The experiment with its networks on another device than they were searched on; None leaves them there.

        Raises:
            TaskError: there is no such device.
            ConfigError: their numbers are not to be had on it.
        """
        if device is None:
            return self
        check_choice("device", device, DEVICES)
        if self.config.task.tf32 and device != "cuda":
            raise ConfigError(
                f"device {device!r}: networks of {str(self.folder)!r} ran with --tf32, a GPU's rounding; "
                "expected 'cuda'"
            )
        task = dataclasses.replace(self.config.task, device=device)
        return dataclasses.replace(self, config=dataclasses.replace(self.config, task=task))

    def of_seeds(self, chosen: Collection[int] | None) -> Experiment:
        """The experiment with those of its runs alone that have one of these seeds; None is all of it.

        Raises:
            ConfigError: it has no such run.
        """
        if chosen is None:
            return self
        config = configs.of_seeds(self.config, chosen)
        if config is None:
            raise ConfigError(
                f"seeds {spoken.ranges(chosen)}: {str(self.folder)!r} has no run with one of them: expected some of "
                f"{spoken.seeds(self.config)}"
            )
        return dataclasses.replace(self, config=config)

    def check_paths(self) -> None:
        """Raise ConfigError where a relative path leads nowhere from here, nor from where the experiment was begun."""
        for name, path in configs.relative_paths(self.located()).items():
            if not Path(path).exists():
                begun = "" if self.origin is None else f", {str(self.origin)!r}"
                raise ConfigError(
                    f"experiment {str(self.folder)!r}: its --{name} {path!r} is relative to the folder that it was "
                    f"begun in{begun}, and there is none in {os.getcwd()!r}: run the command in that folder"
                )

    @property
    def yaml_path(self) -> Path:
        """The configuration."""
        return self.folder / NAME

    @property
    def manifest_path(self) -> Path:
        """Versions, machine, hashes, facts."""
        return self.folder / "manifest.json"

    @property
    def folders(self) -> list[Path]:
        """The folders that its runs lie in."""
        return [part.folder for part in self.parts] or [self.folder]

    def manifest(self) -> dict[str, Any]:
        """What the manifest says; that of the first part, with the sessions of all parts.

        Raises:
            DamagedError: it is not there, or damaged.
        """
        if self.parts:
            first, *others = [part.manifest() for part in self.parts]
            sessions = list(first["sessions"])
            for session in (session for other in others for session in other["sessions"]):
                sessions += [] if session in sessions else [session]
            return first | {"sessions": sessions}
        content = read_json(self.manifest_path)
        if not isinstance(content.get("task"), dict) or not isinstance(content.get("sessions", []), list):
            raise DamagedError(f"{self.manifest_path} is not what was written: expected facts about the task")
        return content

    @property
    def tables_folder(self) -> Path:
        """Tables, all of them rebuilt from the other files."""
        return self.folder / "tables"

    @property
    def figures_folder(self) -> Path:
        """The folder of the experiment's figures."""
        return self.folder / "figures"

    def run(self, agent: str, seed: int) -> Run:
        """One run; the agent by its label."""
        if self.parts:
            return self.copies[agent, seed]
        network = quote(models.slug(self.config.task.model), safe="")
        return Run(self.folder / "runs" / _inside(network) / _inside(folder_name(agent)), agent, seed)

    def busy(self) -> bool:
        """Whether some process is at work on the runs; also where it cannot be found out."""
        path = self.folder / _WORK
        try:
            with path.open("r+b" if os.access(path, os.W_OK) else "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:  # begun by an older version
            pass
        except OSError:
            return True
        return any(run.busy() for run in self.runs())

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that an unfinished experiment compares as many agents as it can."""
        return [self.run(label, seed) for label, seed in self.config.runs()]


def _inside(name: str) -> str:
    """A name without separators that cannot lead out of a folder either."""
    return name.replace(".", "%2E") if not name.strip(".") else name


def load(folder: Path) -> Experiment:
    """The experiment in a folder.

    Raises:
        ConfigError: there is none.
        StoreError: its configuration is damaged.
    """
    folder = folder.expanduser()
    path = folder / NAME
    if not path.is_file():
        near = sorted(str(other.parent) for other in Path("results").rglob("experiment.yaml"))
        hint = f"; experiments here: {', '.join(near)}" if near else ""
        raise ConfigError(f"folder {str(folder)!r} holds no experiment (no experiment.yaml){hint}")
    return Experiment(folder, configs.read_yaml(path)[0], configs.read_origin(path))


def make_given_importable(folder: Path, config: ExperimentConfig) -> None:
    """Let a network and images be found that an experiment was given from Python, after whatever is installed."""
    given = (folder / GIVEN).resolve()
    named = {name.partition(":")[0] for name in (config.task.model, config.task.dataset) if ":" in name}
    if str(given) not in sys.path and any((given / f"{module}.py").is_file() for module in named):
        sys.path.append(str(given))


def _left_behind(path: Path) -> bool:
    """Whether it is of a command that was killed before it had written anything, or of one that is just beginning."""
    return path.name in (_LOCK, _WORK, GIVEN) or (path.name.startswith(".") and path.suffix == DRAFT)


def meet(folder: Path, wanted: ExperimentConfig, *, adding: bool = False) -> Experiment | None:
    """The experiment that a folder holds already, with the runs asked for; None where there is none yet.

    Args:
        folder: of the experiment.
        wanted: agents that are not named keep their seeds.
        adding: whether agents may join that the experiment does not have.

    Raises:
        ConfigError: the folder holds something else, or the experiment differs in more than that.
    """
    if not folder.exists() or (folder.is_dir() and all(map(_left_behind, folder.iterdir()))):
        return None
    if not (folder / NAME).is_file():
        raise ConfigError(f"out {str(folder)!r} exists and is no experiment: expected a new or an empty folder")
    existing = load(folder)
    if changes := configs.differences(existing.config, wanted, existing.origin, adding=adding):
        raise ConfigError(
            f"the experiment in {str(folder)!r} has other settings ({'; '.join(changes)}): only seeds can be added, "
            "and agents with --add-agents; name another folder with --out"
        )
    if existing.config.shard != "1/1" and configs.added(existing.config, wanted):
        raise ConfigError(
            f"the experiment in {str(folder)!r} is shard {existing.config.shard}: merge the shards before agents join"
        )
    runs = {agent.label: wanted.all_seeds_of(agent.label) for agent in wanted.agents}
    return dataclasses.replace(existing, config=configs.grown(existing.config, runs, wanted.agents))
