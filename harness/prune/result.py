"""What pruning one network left: its facts as they are on disk, for people, and the network itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Pruned:
    """A pruned network.

    Attributes:
        folder: everything that was written.
        facts: what ``network/network.json`` says.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def module(self) -> nn.Module:
        """The pruned network, in evaluation mode."""
        raise NotImplementedError
