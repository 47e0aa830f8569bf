"""Files and names that try to run something, or to reach outside the results folder."""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faults.files import copy
from faults.kit import TESTS, Ended, Row, Workplace
from faults.misbehaviour import EVALUATIONS, HEALTHY

CANARY = "canary"
_LOAD = (
    "import sys; from pathlib import Path; from prunebench.envs.weights import export; export.load(Path(sys.argv[1]))"
)


class Malicious:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def weights(place: Workplace) -> Iterator[Row]:
    """Checkpoints that are programs."""
    for fault, write in (("a malicious pickle", _bare), ("a malicious PyTorch archive", _archive)):
        name = f"{write.__name__.strip('_')}.pt"
        write(place.folder / name)
        ended = place.run([*place.bench("weights", HEALTHY[-1], evaluations=EVALUATIONS), "--weights", name])
        yield _row(place, fault, f"--weights {name}", ended, 2, name)


def exported(place: Workplace) -> Iterator[Row]:
    """Exported networks from elsewhere."""
    description = {"schema": 1, "model": "resnet20", "classes": list("0123456789"), "modules": {}}
    cases: tuple[tuple[str, str, dict[str, Any] | str, Callable[[Path], None]], ...] = (
        ("a pickle as .safetensors", "export.load", description, _bare),
        ("a .safetensors with an endless header", "export.load: 8 bytes of FF", description, _endless),
        ("network.json that names a file", "model ../../canary", description | {"model": "../../canary"}, _bare),
        ("network.json nested without end", "100,000 brackets", "[" * 100_000, _bare),
    )
    for number, (fault, injected, content, write) in enumerate(cases):
        folder = place.folder / f"exported-{number}"
        folder.mkdir()
        (folder / "network.json").write_text(content if isinstance(content, str) else json.dumps(content))
        write(folder / "network.safetensors")
        ended = place.run([sys.executable, "-c", _LOAD, folder.name])
        last = ended.err.strip().splitlines()[-1:] or [""]
        refused = last[0].startswith("prunebench.envs.errors.TaskError")
        safe = not _fired(place)
        yield Row(
            fault,
            injected,
            "TaskError, the canary does not fire",
            f"{last[0].removeprefix('prunebench.envs.errors.')[:120]}" + ("" if safe else "; THE CANARY FIRED"),
            refused and safe,
        )


def names(place: Workplace) -> Iterator[Row]:
    """Names that are paths or commands."""
    copies = {out: copy(place, out) for out in _IN_FILES}
    before = _outside(place)
    for option, name in (
        ("agents", "../../evil:X"),
        ("agents", ".."),
        ("model", "../x"),
        ("agents", "$(touch canary)"),
    ):
        ended = place.run([*place.bench("names", HEALTHY[-1], evaluations=EVALUATIONS), f"--{option}", name])
        yield _row(place, f"{option[:5]} {name}", f"--{option}", ended, 2, name.split()[0].strip("$("))
    for out, folder in copies.items():
        yield _in_a_file(place, out, folder)
    yield _made(place)
    new = _outside(place) - before
    yield Row(
        "all of these", "files beside the experiments' folders", "none", ", ".join(sorted(new)) or "none", not new
    )


_IN_FILES = {
    "model": ("model ../../x in experiment.yaml", "model: resnet20", "model: ../../x"),
    "agent": ("agent .. in experiment.yaml", "- random", "- '..'"),
}


def _in_a_file(place: Workplace, out: str, folder: Path) -> Row:
    fault, old, new = _IN_FILES[out]
    path = folder / "experiment.yaml"
    path.write_text(path.read_text().replace(old, new))
    shown, table, bench = place.tool("show", out), place.tool("table", out), place.tool("bench", "--out", out)
    codes = [shown.code, table.code, bench.code]
    calm = "Traceback" not in shown.err + table.err + bench.err
    return Row(
        fault,
        "show, table, bench --out",
        "no traceback, exit codes 0, 0 and 2",
        f"exit codes {codes}" + ("" if calm else ", A TRACEBACK"),
        calm and codes == [0, 0, 2],
    )


def _made(place: Workplace) -> Row:
    fault, name = "an apostrophe in a name given to make", f"it's; touch {CANARY}; '"
    root = TESTS.parent
    injected = "make bench AGENTS=\"it's; touch canary; '\""
    if not (root / ".venv" / "bin" / "prunebench").exists():
        return Row(fault, injected, "-", "not possible here: no virtual environment", None)
    command = ["make", "--no-print-directory", "-C", str(root), "-o", ".venv/.ready", "bench", f"AGENTS={name}"]
    ended = place.run([*command, f"OUT={place.folder / 'made'}"])
    safe = not _fired(place) and not (root / CANARY).exists()
    said = "it's" in ended.err and "prunebench: error" in ended.err
    return Row(
        fault,
        injected,
        "the command's own error names it, exit code 2, the canary does not fire",
        f"exit code {ended.code}: {ended.err.strip().splitlines()[0][:110]}" + ("" if safe else "; THE CANARY FIRED"),
        said and safe and ended.code == 2,
    )


def _row(place: Workplace, fault: str, injected: str, ended: Ended, code: int, named: str) -> Row:
    safe = not _fired(place)
    whole = named in ended.err and "Traceback" not in ended.err and len(ended.err.strip().splitlines()) == 1
    return Row(
        fault,
        injected,
        f"one line that names it, exit code {code}, the canary does not fire",
        f"exit code {ended.code}: {ended.line()}" + ("" if safe else "; THE CANARY FIRED"),
        safe and whole and ended.code == code,
    )


def _fired(place: Workplace) -> bool:
    return (place.folder / CANARY).exists()


def _outside(place: Workplace) -> set[str]:
    """What lies in and around the folder of all experiments."""
    folders = (place.folder, place.folder.parent)
    return {str(path.relative_to(folder)) for folder in folders for path in folder.iterdir()}


def _bare(path: Path) -> None:
    path.write_bytes(pickle.dumps({"conv1.weight": Malicious()}, protocol=2))


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"conv1.weight": Malicious()}, protocol=2))
        archive.writestr("archive/version", "3\n")


def _endless(path: Path) -> None:
    path.write_bytes(b"\xff" * 8 + b"{}")
