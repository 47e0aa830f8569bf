"""Files of an experiment that are damaged, missing, or another version's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.kit import Ended, Row, Workplace
from faults.misbehaviour import EVALUATIONS, HEALTHY, UNDISTURBED


def command(place: Workplace, out: str) -> list[str]:
    """The command of the undisturbed experiment, on another folder."""
    return place.bench(out, HEALTHY[-1], evaluations=EVALUATIONS)


def again(place: Workplace, out: str) -> Ended:
    """That command, run to its end."""
    return place.run(command(place, out))


def copy(place: Workplace, out: str) -> Path:
    """A copy of the undisturbed experiment, which is run where it is not there yet."""
    if not (place.folder / UNDISTURBED).exists():
        again(place, UNDISTURBED)
    return Path(shutil.copytree(place.folder / UNDISTURBED, place.folder / out))


def mended(place: Workplace, out: str = "damaged") -> Iterator[Row]:
    """Three runs with a file each that is not what was written: one command mends them all."""
    copy(place, out)
    names = dict(zip(("torn", "middle", "status"), HEALTHY[-3:], strict=True))
    paths = {kind: place.path(out, name, "seed-0.jsonl") for kind, name in names.items()}
    _tear(paths["torn"])
    _spoil(paths["middle"])
    _halve(place.path(out, names["status"], "seed-0.json"))
    ended = again(place, out)
    equal = place.lines(out) == place.lines(UNDISTURBED)
    what = {
        "torn": ("torn last line", "half of the last line is cut off", "dropped with a notice", "torn line after"),
        "middle": ("damaged line in the middle", "x for {", "kept aside, named, begun afresh", "damaged-1.jsonl"),
        "status": (
            "damaged status file",
            "half of it is cut off",
            "kept aside, named, lines replayed",
            "damaged-1.json",
        ),
    }
    for kind, (fault, injected, expected, notice) in what.items():
        yield _mended(place, out, names[kind], (fault, injected, expected, notice), ended, equal)


def _mended(place: Workplace, out: str, agent: str, texts: tuple[str, str, str, str], ended: Ended, equal: bool) -> Row:
    fault, injected, expected, notice = texts
    status = place.status(out, agent)
    notices = "; ".join(status["notices"])
    table = (place.folder / out / "tables" / "table.md").read_text()
    said = notice in notices and notice in table.replace("\n", " ")
    kept = notice.startswith("torn") or place.path(out, agent, f"seed-0.{notice}").exists()
    return Row(
        fault,
        injected,
        f"{expected}; exit code 0, lines equal",
        f"exit code {ended.code}, {status['status']}, lines {'equal' if equal else 'DIFFER'}; "
        + (notices.rpartition("/")[2] if said else f"NOTICE: {notices or 'none'}"),
        said and kept and equal and ended.code == 0,
    )


def missing(place: Workplace) -> Iterator[Row]:
    """A finished run lacks its last line: seen by whoever only reads, and made good by the command."""
    out = "missing"
    copy(place, out)
    path = place.path(out, "random", "seed-0.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    table = place.tool("table", out)
    named = "has 3 lines, expected 4" in " ".join((table.out + table.err).split())
    ended = again(place, out)
    equal = place.lines(out) == place.lines(UNDISTURBED)
    yield Row(
        "missing lines of a finished run",
        "the last line is removed",
        "`table` names it and reports the rest; `bench` runs what is missing, lines equal",
        f"table: exit code {table.code}, {'named' if named else 'NOT NAMED'}; bench: exit code {ended.code}, "
        f"lines {'equal' if equal else 'DIFFER'}",
        named and (table.code, ended.code) == (0, 0) and equal,
    )


def refused(place: Workplace) -> Iterator[Row]:
    """What is not mended: the command says in a line what is wrong and touches nothing."""
    manifest, config = "manifest.json", "experiment.yaml"
    yield _refused(place, "damaged manifest", manifest, lambda text: text[: len(text) // 2], "cut in half", True)
    yield _refused(place, "damaged experiment.yaml", config, lambda text: text[10:-30], "both ends are cut off")
    yield _refused(place, "empty experiment.yaml", config, lambda text: "", "nothing in it")
    yield _refused(place, "newer schema of experiment.yaml", config, _newer_yaml, "schema: 99")
    status = "runs/resnet20/random/seed-0.json"
    yield _refused(place, "newer schema of a status", status, _newer_json, "schema 99")


def _refused(
    place: Workplace, fault: str, name: str, spoil: Callable[[str], str], injected: str, run: bool = False
) -> Row:
    out = fault.replace(" ", "-")
    folder = copy(place, out)
    path = folder / name
    path.write_text(spoil(path.read_text()))
    if run:  # so that something is to be done
        place.path(out, "random", "seed-0.json").unlink()
    before = path.read_text()
    ended = again(place, out)
    word = "version 99" if "newer" in fault else path.name
    said = word in ended.err and path.name in ended.err and "Traceback" not in ended.err
    kept = path.read_text() == before
    return Row(
        fault,
        injected,
        "one line that names the file, exit code 2, file untouched",
        f"exit code {ended.code}: {ended.line()}" + ("" if kept else "; CHANGED"),
        said and kept and ended.code == 2 and len(ended.err.strip().splitlines()) <= (2 if run else 1),
    )


def _newer_yaml(text: str) -> str:
    return text.replace("schema: 1", "schema: 99", 1)


def _newer_json(text: str) -> str:
    return json.dumps(json.loads(text) | {"schema": 99})


def _tear(path: Path) -> None:
    """As a power cut would leave an unfinished run."""
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    status = path.with_suffix(".json")
    values = json.loads(status.read_text()) | {"status": "running"}
    del values["lines"]
    status.write_text(json.dumps(values))


def _spoil(path: Path) -> None:
    rows = path.read_text().splitlines(keepends=True)
    rows[1] = "x" + rows[1][1:]
    path.write_text("".join(rows))


def _halve(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
