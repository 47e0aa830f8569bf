"""The command as a user starts it, in a folder of its own, and what it left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

TESTS = Path(__file__).resolve().parents[1]
CODE = "from prunebench.harness.cli import main; main()"
_MARKER = "PRUNEBENCH_FAULTS"
_PATIENCE = 400.0


@dataclass(frozen=True)
class Row:
    """One fault: what it is, how it is injected, what is expected and what was seen. ``ok`` None: not possible here."""

    fault: str
    injected: str
    expected: str
    seen: str
    ok: bool | None


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def line(self) -> str:
        """Its last line of error, shortened; what came before it is counted."""
        *before, last = self.err.strip().splitlines() or [""]
        shown = last.removeprefix("prunebench: error: ")[:110]
        return f"(after {len(before)} lines) {shown}" if before else shown


@dataclass
class Workplace:
    """A folder that commands are started in, with random weights for them.

    Attributes:
        folder: of everything; paths given to the command are relative to it.
        mark: in the environment of every process that comes from here.
    """

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "weights.pt").exists():
            import torch
            from randomnets import random_network

            torch.save(random_network("resnet20").state_dict(), self.folder / "weights.pt")

    @property
    def environment(self) -> dict[str, str]:
        """Of the command."""
        cache = os.environ.get("PRUNEBENCH_CACHE", str(self.folder / "cache"))
        one = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
        return os.environ | one | {"PRUNEBENCH_CACHE": cache, _MARKER: self.mark}

    def bench(self, out: str, agents: str, *more: str, code: str = CODE, evaluations: int = 6) -> list[str]:
        """The command that runs agents and, as always, the controls."""
        options = {"model": "resnet20", "weights": "weights.pt", "reward-images": 30, "evaluations": evaluations}
        options |= {"seeds": 1, "jobs": 2, "out": out, "agents": agents}
        flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [sys.executable, "-c", code, "bench", *flags, *more]

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start it, as the leader of a group of its own."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        environment = self.environment
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, start_new_session=True, text=True, **pipes, preexec_fn=_as_typed
        )

    def run(self, command: list[str]) -> Ended:
        """Run it to its end."""
        return self.finish(self.start(command))

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for its end."""
        try:
            out, err = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self.sweep()
            out, err = process.communicate()
            err += "\nIT HUNG"
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"\n$ {' '.join(map(str, process.args))}\n{out}{err}\nexit code {process.returncode}\n")  # type: ignore[arg-type]
        return Ended(process.returncode, out or "", err or "")

    def tool(self, *arguments: str) -> Ended:
        """Another command of prunebench's."""
        return self.run([sys.executable, "-c", CODE, *arguments])

    def lines(self, out: str) -> dict[str, list[dict[str, Any]]]:
        """Every run's lines without the times, which no two runs share."""
        root = self.folder / out / "runs" / "resnet20"
        files = sorted(root.rglob("seed-?.jsonl"))
        return {str(file.relative_to(root)): parsed(file) for file in files}

    def status(self, out: str, agent: str, seed: int = 0) -> dict[str, Any]:
        """What is on disk about a run."""
        return json.loads(self.path(out, agent, f"seed-{seed}.json").read_text())

    def failures(self, out: str) -> list[int]:
        """How often each run has failed."""
        files = (self.folder / out / "runs").rglob("seed-?.json")
        return [json.loads(file.read_text())["failures"] for file in files]

    def path(self, out: str, agent: str, name: str) -> Path:
        """A file of a run's."""
        return self.folder / out / "runs" / "resnet20" / agent.replace(":", "@") / name

    def family(self) -> list[psutil.Process]:
        """Every process that comes from here and is alive."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARKER) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left(self, seconds: float = 30.0) -> int:
        """How many processes are still there, once they had time to go; they are ended.

        A server that was still importing when its parent was killed sees that when it is through.
        """
        wait_for(lambda: not self.family(), seconds)
        return self.sweep()

    def sweep(self) -> int:
        """End what is left of all commands; returns how many processes that were."""
        found = self.family()
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return len(found)


def parsed(file: Path) -> list[dict[str, Any]]:
    """Whole lines without the times."""
    whole = [text for text in file.read_text().splitlines(keepends=True) if text.endswith("\n")]
    return [{key: value for key, value in json.loads(text).items() if key != "seconds"} for text in whole]


def wait_for(holds: Callable[[], Any], seconds: float = _PATIENCE) -> bool:
    """Wait until something holds; returns whether it came to that."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _as_typed() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell runs in the background
