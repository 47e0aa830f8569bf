"""A healthy agent, and one for every way of misbehaving: most begin to in their third episode."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

NAP = ["sleep", "1000"]


class Healthy:
    """Random policies from its seed."""

    def __init__(self, *, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def search(self, env: Any, evaluations: int) -> None:
        for number in range(evaluations):
            if number == 2:
                self.misbehave()
            self.episode(env, number)

    def misbehave(self) -> None:
        pass

    def episode(self, env: Any, number: int) -> None:
        _, info = env.reset()
        for layer in range(len(info["layers"]["name"])):
            env.step(self.wrong() if (number, layer) == (2, 4) else self.action())

    def action(self) -> Any:
        return np.array([self.rng.uniform()], dtype=np.float32)

    wrong = action


class Slow(Healthy):
    """Naps, so that there is time to be disturbed."""

    def __init__(self, *, nap: float = 0.25, seed: int) -> None:
        super().__init__(seed=seed)
        self.nap = nap

    def episode(self, env: Any, number: int) -> None:
        time.sleep(self.nap)
        super().episode(env, number)


class Deaf(Slow):
    """Does not end when it is asked to."""

    def search(self, env: Any, evaluations: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().search(env, evaluations)


class Capricious(Slow):
    """Pays no heed to its seed from the third evaluation on."""

    def misbehave(self) -> None:
        self.rng = np.random.default_rng()


class Raises(Healthy):
    def misbehave(self) -> None:
        raise ZeroDivisionError("on purpose")


class BadMessage(Exception):
    def __str__(self) -> str:
        raise ValueError("not even its message")


class RaisesUnprintable(Healthy):
    def misbehave(self) -> None:
        raise BadMessage


class Hangs(Healthy):
    def misbehave(self) -> None:
        time.sleep(1000)


class HangsInC(Healthy):
    """No other thread of Python's gets a turn."""

    def misbehave(self) -> None:
        ctypes.PyDLL(None).sleep(1000)


class StopsItself(Healthy):
    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class IgnoresSignals(Healthy):
    def misbehave(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(1000)


class Stubborn(Healthy):
    def search(self, env: Any, evaluations: int) -> None:
        for _ in itertools.count():
            try:
                self.episode(env, 0)
            except BaseException:
                continue


class Segfaults(Healthy):
    def misbehave(self) -> None:
        ctypes.string_at(0)


class ExitsZero(Healthy):
    def misbehave(self) -> None:
        os._exit(0)


class ExitsThree(Healthy):
    def misbehave(self) -> None:
        os._exit(3)


class KillsItsGroup(Healthy):
    def misbehave(self) -> None:
        os.killpg(0, signal.SIGKILL)


class Leaves(Healthy):
    def misbehave(self) -> None:
        sys.exit(0)


class Interrupts(Healthy):
    def misbehave(self) -> None:
        raise KeyboardInterrupt


class EatsMemory(Healthy):
    def misbehave(self) -> None:
        hoard = []
        while True:
            hoard.append(b"x" * (1 << 26))
            time.sleep(0.02)


class NotANumber(Healthy):
    def wrong(self) -> Any:
        return np.array([np.nan])


class Infinite(Healthy):
    def wrong(self) -> Any:
        return np.array([np.inf])


class OutOfRange(Healthy):
    def wrong(self) -> Any:
        return np.array([1.5])


class WrongShape(Healthy):
    def wrong(self) -> Any:
        return np.array([0.5, 0.5])


class Overspends(Healthy):
    def search(self, env: Any, evaluations: int) -> None:
        super().search(env, 2 * evaluations)


class KeepsThreads(Healthy):
    def misbehave(self) -> None:
        for _ in range(3):
            threading.Thread(target=time.sleep, args=(1000,), daemon=False).start()


class StartsProcess(Healthy):
    def misbehave(self) -> None:
        subprocess.Popen(NAP)


class StartsDaemon(Healthy):
    """In a session of its own, out of the reach of whoever ends groups."""

    def misbehave(self) -> None:
        subprocess.Popen(NAP, start_new_session=True)


class StartsDaemonAndDies(StartsDaemon):
    def misbehave(self) -> None:
        super().misbehave()
        os._exit(3)


class Forks(Healthy):
    """Both go on with the search."""

    def misbehave(self) -> None:
        os.fork()


class ForksAndDies(Healthy):
    """The copy holds whatever was open."""

    def misbehave(self) -> None:
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        os._exit(3)


class ClosesDescriptors(Healthy):
    def misbehave(self) -> None:
        os.closerange(3, 1024)


class Prints(Healthy):
    def misbehave(self) -> None:
        for _ in range(50):
            print("x" * (1 << 20))


class ReplacesOutput(Healthy):
    def misbehave(self) -> None:
        sys.stdout = sys.stderr = None  # type: ignore[assignment]


class ClosesOutput(Healthy):
    def misbehave(self) -> None:
        os.close(1)
        os.close(2)


class ChangesFolder(Healthy):
    def misbehave(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
        print("elsewhere")


class DeletesLines(Healthy):
    def misbehave(self) -> None:
        own_lines(self).unlink()


class WritesLines(Healthy):
    def misbehave(self) -> None:
        with own_lines(self).open("a") as file:
            file.write("{}\n")


class DeletesStatus(Healthy):
    """And dies: nothing on disk counts how often."""

    def misbehave(self) -> None:
        own_lines(self).with_suffix(".json").unlink()
        os._exit(3)


class SpoilsStatus(Healthy):
    content = "{"

    def misbehave(self) -> None:
        own_lines(self).with_suffix(".json").write_text(self.content)
        os._exit(3)


class WritesNewerStatus(SpoilsStatus):
    content = '{"schema": 99}'


class WritesEmptyStatus(SpoilsStatus):
    content = '{"schema": 1}'


class WritesIntoThePipe(Healthy):
    """That which tells the command how the run is going."""

    def misbehave(self) -> None:
        for found in gc.get_objects():
            if type(found) is Connection:
                os.write(found.fileno(), b"x" * 8)
        time.sleep(1000)


class DiesOddly(Healthy):
    def misbehave(self) -> None:
        os.kill(os.getpid(), 40)


class RaisesSurrogates(Healthy):
    def misbehave(self) -> None:
        raise ValueError("\udcff")


class RaisesAtLength(Healthy):
    def misbehave(self) -> None:
        raise ValueError("no end " * 1_000_000)


class UnwritableNotes(Healthy):
    def misbehave(self) -> None:
        self.notes = {"agent": self}


class Recurses(Healthy):
    def misbehave(self) -> None:
        self.misbehave()


class Idle(Healthy):
    def search(self, env: Any, evaluations: int) -> None:
        env.reset()


class WarnsAsErrors(Healthy):
    def misbehave(self) -> None:
        warnings.simplefilter("error")
        warnings.warn("an error now", stacklevel=1)


class Dies(Healthy):
    """Whenever it is begun."""

    def search(self, env: Any, evaluations: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def own_lines(agent: Any) -> Path:
    """The file with this agent's lines, below the folder that the command was started in."""
    return next(Path.cwd().rglob(f"*@{type(agent).__name__}/seed-0.jsonl"))
