"""Every misbehaving agent in one experiment, beside healthy ones: each is a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from faults import agents
from faults.kit import Ended, Row, Workplace

EVALUATIONS = 4
UNDISTURBED, MISBEHAVING = "undisturbed", "misbehaving"
HEALTHY = ("uniform", "global", "random", "greedy", "faults.agents:Healthy")
_LOG = (1 << 20) + 200  # bytes
_STACK_IN_LOG = (agents.Segfaults, agents.Hangs, agents.HangsInC, agents.IgnoresSignals, agents.Stubborn)
_NO_STACK = (  # they leave the process no time to say where it was
    *(agents.ExitsZero, agents.ExitsThree, agents.KillsItsGroup, agents.ForksAndDies, agents.StartsDaemonAndDies),
    *(agents.DeletesStatus, agents.SpoilsStatus, agents.WritesEmptyStatus, agents.WritesNewerStatus),
    *(agents.WritesIntoThePipe, agents.DiesOddly, agents.EatsMemory, agents.StopsItself),
)


@dataclass(frozen=True)
class Case:
    """An agent: how its run ends, with which reason, and how many evaluations are kept (None: whatever they are)."""

    agent: type
    injected: str
    status: str = "done"
    error: str = ""
    reason: str = ""
    lines: int | None = EVALUATIONS

    @property
    def name(self) -> str:
        """As the command names it."""
        return f"faults.agents:{self.agent.__name__}"

    @property
    def fault(self) -> str:
        """As the table names it."""
        return "agent " + re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.agent.__name__).lower()

    @property
    def expected(self) -> str:
        """In words."""
        return self.status + (f", {self.error}" if self.error else "") + (f" ({self.reason})" if self.reason else "")


def _failing(agent: type, injected: str, error: str, reason: str = "", lines: int | None = 2) -> Case:
    return Case(agent, injected, "failed", error, reason, lines)


def _hanging(agent: type, injected: str, lines: int = 2) -> Case:
    return Case(agent, injected, "timeout", "TimeLimit", "longer than the limit", lines)


CASES = (
    _failing(agents.Raises, "raise ZeroDivisionError", "ZeroDivisionError", "on purpose"),
    _failing(agents.RaisesUnprintable, "an error whose message raises", "BadMessage"),
    _failing(agents.RaisesSurrogates, "a message that UTF-8 has not", "ValueError", "udcff"),
    _failing(agents.RaisesAtLength, "a message of 7 MB", "ValueError", "no end"),
    _failing(agents.Leaves, "sys.exit(0)", "SystemExit"),
    _failing(agents.Interrupts, "raise KeyboardInterrupt", "KeyboardInterrupt"),
    _failing(agents.Recurses, "endless recursion", "RecursionError"),
    _failing(agents.NotANumber, "action NaN", "ValueError", "nan"),
    _failing(agents.Infinite, "action inf", "ValueError", "inf"),
    _failing(agents.OutOfRange, "action 1.5", "ValueError", "1.5"),
    _failing(agents.WrongShape, "action of shape (2,)", "ValueError", "shape"),
    _failing(agents.UnwritableNotes, "notes that JSON has not", "TypeError", "notes", EVALUATIONS),
    _failing(agents.Idle, "no evaluation at all", "RuntimeError", "without a single evaluation", 0),
    _failing(agents.WarnsAsErrors, "warnings are errors", "UserWarning"),
    _failing(agents.DeletesLines, "unlinks its .jsonl", "DamagedError", "lines", 0),
    _failing(agents.WritesLines, "writes into its .jsonl", "DamagedError", "lines", None),
    _failing(agents.DeletesStatus, "unlinks its .json; os._exit(3)", "ProcessDied", "exit code 3"),
    _failing(agents.SpoilsStatus, "writes { into its .json; os._exit(3)", "ProcessDied", "exit code 3"),
    _failing(agents.WritesEmptyStatus, 'writes {"schema": 1} there; os._exit(3)', "ProcessDied", "exit code 3"),
    _failing(agents.WritesNewerStatus, 'writes {"schema": 99} there; os._exit(3)', "ProcessDied", "exit code 3"),
    _failing(agents.WritesIntoThePipe, "8 bytes to the command that are no message", "ProcessDied", "pipe"),
    _failing(agents.DiesOddly, "kills itself by signal 40", "ProcessDied", "signal 40"),
    _failing(agents.ClosesDescriptors, "os.closerange(3, 1024)", "OSError", "descriptor", 2),
    _failing(agents.Segfaults, "ctypes.string_at(0)", "ProcessDied", "SIGSEGV"),
    _failing(agents.ExitsZero, "os._exit(0)", "ProcessDied", "exit code 0"),
    _failing(agents.ExitsThree, "os._exit(3)", "ProcessDied", "exit code 3"),
    _failing(agents.KillsItsGroup, "os.killpg(0, SIGKILL)", "ProcessDied", "SIGKILL"),
    _failing(agents.ForksAndDies, "a copy sleeps in another session", "ProcessDied", "exit code 3"),
    _failing(agents.StartsDaemonAndDies, "a child in another session; os._exit(3)", "ProcessDied", "exit code 3"),
    _failing(agents.EatsMemory, "64 MiB at a time, --memory-limit 2", "MemoryLimit", "GiB"),
    _hanging(agents.Hangs, "time.sleep, --time-limit"),
    _hanging(agents.HangsInC, "C code that holds the interpreter's lock"),
    _hanging(agents.StopsItself, "SIGSTOP to itself"),
    _hanging(agents.IgnoresSignals, "ignores SIGTERM, then sleeps"),
    _hanging(agents.Stubborn, "except BaseException: continue, for ever", EVALUATIONS),
    Case(agents.Overspends, "asks for twice its evaluations"),
    Case(agents.KeepsThreads, "three non-daemon threads"),
    Case(agents.StartsProcess, "a child that never ends"),
    Case(agents.StartsDaemon, "a child in another session that never ends"),
    Case(agents.Forks, "os.fork(), both go on"),
    Case(agents.Prints, "50 MB on standard output"),
    Case(agents.ReplacesOutput, "sys.stdout = sys.stderr = None"),
    Case(agents.ClosesOutput, "closes descriptors 1 and 2"),
    Case(agents.ChangesFolder, "chdir to a folder that is gone; prints"),
)


def rows(place: Workplace, time_limit: int = 10) -> Iterator[Row]:
    """Run the healthy agents alone, then all of them together, and judge each run."""
    calm = place.run(place.bench(UNDISTURBED, HEALTHY[-1], evaluations=EVALUATIONS))
    names = " ".join([*(case.name for case in CASES), HEALTHY[-1]])
    limits = ["--time-limit", str(time_limit), "--memory-limit", "2", "--attempts", "2", "--jobs", "4"]
    ended = place.run(place.bench(MISBEHAVING, names, *limits, evaluations=EVALUATIONS))
    left = place.left()
    for case in CASES:
        yield _judged(place, case, ended)
    yield _together(place, calm, ended, left)


def _judged(place: Workplace, case: Case, ended: Ended) -> Row:
    status = place.status(MISBEHAVING, case.name)
    error = status["error"] or {"type": "", "message": "", "traceback": ""}
    kept = place.lines(MISBEHAVING).get(f"{case.name.replace(':', '@')}/seed-0.jsonl", [])
    seen = status["status"] + (f", {error['type']}: {error['message'][:60]}" if error["type"] else "")
    wrong = [] if (case.lines or 0) == len(kept) or case.lines is None else [f"{len(kept)} lines"]
    if not (status["status"] == case.status and re.fullmatch(case.error, error["type"])):
        wrong.append("another end")
    if case.reason not in error["message"]:
        wrong.append("another reason")
    wrong += _where(place, case, ended, error["traceback"]) if case.status != "done" else _unharmed(place, case)
    return Row(case.fault, case.injected, case.expected, "; ".join([seen, *wrong]), not wrong)


def _where(place: Workplace, case: Case, ended: Ended, traceback: str) -> Iterator[str]:
    """Places that do not name what went wrong."""
    log = place.path(MISBEHAVING, case.name, "seed-0.log")
    stack = log.read_text(errors="replace") if log.exists() and case.agent in _STACK_IN_LOG else traceback
    if not traceback or (case.agent not in _NO_STACK and "File " not in stack):
        yield "no traceback on disk"
    table = (place.folder / MISBEHAVING / "tables" / "table.md").read_text()
    ends = (case.status, "left out, its files are damaged")
    if not any(f"{case.name} seed 0: {end}" in table for end in ends):
        yield "not in the table's footnotes"
    if f"failed: {case.name} seed 0" not in ended.err:
        yield "not said by the command"


def _unharmed(place: Workplace, case: Case) -> Iterator[str]:
    lines = place.lines(MISBEHAVING)
    if lines[f"{case.name.replace(':', '@')}/seed-0.jsonl"] != lines["faults.agents@Healthy/seed-0.jsonl"]:
        yield "other lines than a healthy one's"
    log = place.path(MISBEHAVING, case.name, "seed-0.log")
    if case.agent is agents.Prints and not (log.stat().st_size < _LOG and b"not kept" in log.read_bytes()[-100:]):
        yield "its log is not bounded"
    if case.agent is agents.ChangesFolder and not (log.exists() and "elsewhere" in log.read_text()):
        yield "its log is elsewhere"


def _together(place: Workplace, calm: Ended, ended: Ended, left: int) -> Row:
    before, after = place.lines(UNDISTURBED), place.lines(MISBEHAVING)
    equal = bool(before) and all(after.get(name) == rows for name, rows in before.items())
    seen = f"exit codes {calm.code} and {ended.code}, lines {'equal' if equal else 'DIFFER'}, processes left: {left}"
    return Row(
        "healthy agents beside all of these",
        f"{len(CASES)} of them in one command",
        "exit codes 0 and 1, lines equal those of an undisturbed command, no process left",
        seen + (", HUNG" if "IT HUNG" in ended.err else ""),
        equal and (calm.code, ended.code, left) == (0, 1, 0),
    )
