"""The text and JSON files of an experiment, written whole and read with care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prunebench.envs.files import whole
from prunebench.harness.errors import DamagedError, StoreError

SCHEMA = 1
"""Version of the files of an experiment."""


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new one, whatever happens."""
    with whole(path) as file:
        file.write(text.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` and the schema's version, atomically."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What :func:`write_json` wrote.

    Raises:
        DamagedError: there is no such file, or it is damaged.
        StoreError: it is another version's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError) as error:  # other errors of the system may pass
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or "schema" not in content:
        raise DamagedError(f"{path} is not what was written: expected an object with a schema")
    if content["schema"] != SCHEMA:
        raise StoreError(f"{path}: written in version {content['schema']} of the files; this is version {SCHEMA}")
    return content


def free_name(path: Path, why: str) -> Path:
    """A file beside another one, named after it and a reason, that is not there yet."""
    number = 1
    while (free := path.with_name(f"{path.stem}.{why}-{number}{path.suffix}")).exists():
        number += 1
    return free


def first_fault(error: ValidationError) -> str:
    """What is wrong with a file's content, in a few words."""
    fault = error.errors()[0]
    return ": ".join(filter(None, [".".join(map(str, fault["loc"])), fault["msg"]]))
