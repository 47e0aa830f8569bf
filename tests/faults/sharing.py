"""Two harnesses at once, agents that do not repeat themselves or always die, latency that cannot be measured."""

from __future__ import annotations

import json
from collections.abc import Iterator

from faults import broken
from faults.kit import Row, Workplace, wait_for
from faults.misbehaviour import EVALUATIONS, HEALTHY

DIES, CAPRICIOUS = "faults.agents:Dies", "faults.agents:Capricious"


def shared(place: Workplace, command: list[str], others: list[str], calm: str, out: str = "shared") -> Iterator[Row]:
    """Start two commands on one folder; the lines are those of the experiment ``calm``."""
    processes = [place.start(command), place.start(others)]
    ended = [place.finish(process) for process in processes]
    equal = place.lines(out) == place.lines(calm) != {}
    files = list((place.folder / out / "runs").rglob("seed-?.json"))
    statuses = [json.loads(file.read_text()) for file in files]
    attempts = {status["attempts"] for status in statuses}
    done = all(status["status"] == "done" for status in statuses)
    codes = [one.code for one in ended]
    yield Row(
        "two harnesses on one folder",
        "the same command twice at once",
        "each run is done once (attempts 1), both exit codes 0, lines equal",
        f"exit codes {codes}, {len(files)} runs{'' if done else ' NOT'} done, attempts {sorted(attempts)}, "
        f"lines {'equal' if equal else 'DIFFER'}, processes left: {(left := place.left())}",
        equal and done and codes == [0, 0] and attempts == {1} and left == 0,
    )


def capricious(place: Workplace) -> Iterator[Row]:
    """An agent that, begun again, asks for something else."""
    command = place.bench("capricious", CAPRICIOUS, evaluations=8)
    process = place.start(command)
    file = place.path("capricious", CAPRICIOUS, "seed-0.jsonl")
    wait_for(lambda: (file.exists() and file.read_bytes().count(b"\n") >= 5) or process.poll() is not None)
    process.kill()
    process.communicate()
    ended = place.run(command)
    status = place.status("capricious", CAPRICIOUS)
    reasons = [entry["reason"] for entry in status["nondeterministic"]]
    aside = all(file.with_name(entry["lines"]).exists() for entry in status["nondeterministic"])
    table = (place.folder / "capricious" / "tables" / "table.md").read_text()
    yield Row(
        "nondeterministic agent",
        "unseeded from evaluation 2 on; the driver is killed after 5",
        "marked, evaluation 2 named, the old lines kept aside, in the footnotes; exit code 0",
        f"exit code {ended.code}, {status['status']}: {'; '.join(reasons) or 'NOT MARKED'}",
        len(reasons) == 1
        and "evaluation 2 " in reasons[0]
        and aside
        and "nondeterministic" in table
        and not ended.code,
    )


def attempts_and_latency(place: Workplace) -> Iterator[Row]:
    """An agent that always dies, and a latency that cannot be measured at first."""
    out, agents = "attempts", f"{DIES} {HEALTHY[-1]}"
    first = place.run(place.bench(out, agents, "--attempts", "2", code=broken.CODE, evaluations=EVALUATIONS))
    begun = place.status(out, DIES)["attempts"]
    done = place.status(out, "random")
    second = place.run(place.bench(out, agents, "--attempts", "2", evaluations=EVALUATIONS))
    begun_in_all = place.status(out, DIES)["attempts"]
    told = "--attempts 3 begins it again" in second.err
    yield Row(
        "a run's process always dies",
        "SIGKILL to itself, --attempts 2; the same command again",
        "begun twice, then not again; said how it would be; exit codes 1",
        f"exit codes {first.code} and {second.code}, begun {begun} times, after the second command {begun_in_all}"
        + (", told" if told else ", NOT TOLD"),
        told and (first.code, second.code, begun, begun_in_all) == (1, 1, 2, 2),
    )
    said = "failed: latency of the incumbents" in first.err and "ZeroDivisionError" in first.err
    measured = "latency" in place.status(out, "random")
    yield Row(
        "latency cannot be measured",
        "its function raises; the same command again",
        "runs and table stand without it, said, exit code 1; measured by the next command",
        f"exit code {first.code}, {'said' if said else 'NOT SAID'}, runs {done['status']}; "
        f"then {'measured' if measured else 'NOT MEASURED'}",
        said and "latency" not in done and done["status"] == "done" and measured and "random" in first.out,
    )
