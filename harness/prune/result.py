"""What pruning one network left: its facts as they are on disk, for people, and the network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from prunebench.harness.experiments import spoken
from prunebench.harness.files import read_json
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from torch import nn

NETWORK = "network"
"""The folder of the exported network, in the experiment's."""
PAGE = "prune.html"
_NO_GAIN = 0.95
"""Of a network's time: kept so much of it, one gains next to nothing."""
HEADINGS = ("", "dense", "pruned", "kept")


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        experiment: the search.
        facts: what ``network/network.json`` says: channels, costs, accuracies (``accuracy``, of the dense network
            ``dense``), seconds (``latency`` in PyTorch, ``onnxruntime``).
    """

    experiment: Experiment
    facts: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Everything that was written."""
        return self.experiment.folder

    @property
    def paths(self) -> dict[str, Path]:
        """The files that matter, by what they are: ``onnx``, ``weights``, ``description``, ``report``."""
        names = {"onnx": "network.onnx", "weights": "network.safetensors", "description": "network.json"}
        return {what: self.folder / NETWORK / name for what, name in names.items()} | {"report": self.folder / PAGE}

    @property
    def module(self) -> nn.Module:
        """The pruned network, in evaluation mode, made from its files; it can be trained on."""
        from prunebench.envs.weights import export

        return export.load(self.folder / NETWORK)

    @property
    def accuracy(self) -> dict[str, float]:
        """On the test split, from 0 to 1: of the ``dense`` network, as ``pruned``, and ``finetuned`` where it was."""
        found, tuned = self.facts["accuracy"], self.facts["accuracy"]["finetuned_test"]
        both = {"dense": self.facts["dense"]["test_accuracy"], "pruned": found["test"]["accuracy"]}
        return both | ({"finetuned": tuned["accuracy"]} if tuned else {})

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """What the summary shows, under :data:`HEADINGS`."""
        facts, found = self.facts, self.accuracy
        rows = [_points("test accuracy, as pruned", found["dense"], found["pruned"])]
        if "finetuned" in found:
            rows.append(_points("test accuracy, fine-tuned", found["dense"], found["finetuned"]))
        for name, label in (("macs", "MACs"), ("parameters", "parameters")):
            whole, left = facts["dense"][name], facts[name]
            rows.append((label, f"{whole:,}", f"{left:,}", f"{100 * left / whole:.1f} %"))
        torch = facts["latency"] | {"kept": None}
        for what, timed in [("PyTorch", torch), *(("onnxruntime", each) for each in facts["onnxruntime"])]:
            rows.append(_timed(what, timed))
        return rows

    @property
    def spread(self) -> str:
        """How the times were taken, in a sentence."""
        timed = self.facts["onnxruntime"][0]
        return (
            f"Times: medians of {timed['rounds']} rounds, dense and pruned in turn, {timed['threads']} thread(s), with "
            "the quartiles in brackets; of onnxruntime what is kept is the median of each round's pair."
        )

    @property
    def onnx(self) -> str:
        """How the ONNX file compares with PyTorch, in a sentence."""
        found = self.facts["onnx"]
        return (
            f"ONNX: on {found['images']} images no output differs by more than {found['largest_difference']:.1e} "
            "(allowed: 1e-4 of the largest)."
        )

    @property
    def unmet(self) -> str | None:
        """That a latency budget does not hold as measured, in one line; None where it does, or there is none."""
        config, timed = self.experiment.config, self.facts["latency"]
        if config.cost != "latency":
            return None
        low, middle, _ = (1e9 * seconds / timed["images"] for seconds in timed["seconds"])
        dense = 1e9 * timed["dense_seconds"][1] / timed["images"]
        limit = config.preserve * dense if config.absolute is None else config.absolute.limit
        if low <= limit:
            return None
        lower = limit**2 / middle
        return (
            f"latency-ms {limit / 1e6:.4g}: predicted to hold, but {middle / 1e6:.4g} ms were measured: other "
            f"processes may have slowed this machine; ask for {lower / 1e6:.3g}, or again when it is idle"
        )

    @property
    def blocks(self) -> str | None:
        """Why onnxruntime gains next to nothing of a network that lost MACs; None where it gains."""
        kept = min(timed["kept"][1] for timed in self.facts["onnxruntime"])
        if kept <= _NO_GAIN or self.facts["macs"] > _NO_GAIN * self.facts["dense"]["macs"]:
            return None
        again = "" if self.experiment.config.round_to % 8 == 0 else "; --round-to 8 searches in multiples of 8"
        return f"onnxruntime gains next to nothing of these counts of channels: its kernels compute blocks of 8{again}."

    @property
    def notes(self) -> list[str]:
        """What is to be said below the summary's rows, sentences."""
        return [self.spread, *filter(None, [self.blocks]), self.onnx]

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The summary for a terminal."""
        table = tabulate(self.rows, HEADINGS, tablefmt="simple", colalign=("left", "right", "right", "right"))
        lines = [self.headline, "", table, "", *self.notes, *filter(None, [self.unmet])]
        files = [f"{what:<12} {path}" for what, path in self.paths.items()]
        return "\n".join([*lines, "", *files])

    @property
    def headline(self) -> str:
        """What was pruned to what, in a sentence."""
        config = self.experiment.config
        agent = self.facts["origin"]["agent"]
        return f"{spoken.comparison(config)}, found by {agent} in {config.evaluations} evaluations"

    def _repr_html_(self) -> str:
        """The summary in a notebook."""
        said = " ".join([*self.notes, self.unmet or ""])
        return f"<p>{escape(self.headline)}</p>{table_html(self.rows)}<p>{escape(said)}</p>"


def read(folder: Path) -> Pruned:
    """What pruning left in a folder.

    Raises:
        HarnessError: there is none.
    """
    return Pruned(store.load(folder), read_json(folder / NETWORK / "network.json"))


def table_html(rows: Sequence[Sequence[str]]) -> str:
    """The rows of a summary as an HTML table."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _points(label: str, dense: float, pruned: float) -> tuple[str, str, str, str]:
    return label, f"{100 * dense:.2f} %", f"{100 * pruned:.2f} %", f"{100 * (pruned - dense):+.2f} points"


def _timed(what: str, timed: dict[str, Any]) -> tuple[str, str, str, str]:
    images = timed["images"]
    size = "one image" if images == 1 else f"batches of {images}"
    dense, pruned = ([1e3 * s / images for s in timed[name]] for name in ("dense_seconds", "seconds"))
    kept = f"{100 * pruned[1] / dense[1]:.1f} %"
    if timed["kept"]:
        low, middle, high = (100 * share for share in timed["kept"])
        kept = f"{middle:.1f} % ({low:.1f}-{high:.1f})"
    return f"ms per image, {what}, {size}", _quartiles(dense), _quartiles(pruned), kept


def _quartiles(values: Sequence[float]) -> str:
    low, middle, high = (f"{value:.3g}" for value in values)
    return f"{middle} ({low}-{high})"
