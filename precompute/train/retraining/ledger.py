"""The losses that trained models gave, a line of JSON for each training, and a first line that says of which bench.

A line is added in one write when a training has been asked, so that a killed bench loses none, and a file that is kept
under version control grows by lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precompute.common.files import write_atomically
from precompute.errors import UserError

Answers = dict[str, list[float]]  # values of the clips [Q] by name


@dataclass(frozen=True)
class Ledger:
    """A file of answers by training."""

    path: Path
    key: str  # of the bench, as `Bench.key`
    about: Mapping[str, Any]  # settings and hardware, for a reader; written once, with the first line

    def read(self) -> dict[str, Answers]:
        """Answers by the name of the training. Raises UserError where the file is of another bench, or no ledger.

        A last line that was cut by a full disk is left out, so that its training is done again.
        """
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").split("\n")
        whole = lines[:-1]  # each ends with a line feed
        try:
            rows = [json.loads(line) for line in whole]
            key = rows[0]["bench"] if rows else self.key
            answers = {row["training"]: row["losses"] for row in rows[1:]}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.path}: is no ledger of retraining ({error}); remove it to begin again") from error
        if key != self.key:
            raise UserError(
                f"{self.path}: is of another bench ({key}; this one is {self.key}): settings, tracks or model differ;"
                " set them back, or name another folder in [retraining] results"
            )
        return answers

    def begin(self) -> None:
        """Write the first line where there is no file, and take away a last line that was cut; before any worker."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps({"bench": self.key, **self.about}) + "\n")
        text = self.path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            write_atomically(self.path, text[: text.rfind("\n") + 1])

    def add(self, training: str, answers: Mapping[str, Sequence[float]]) -> None:
        """Add the answers of a training, to seven significant digits; several processes may do so at once."""
        rounded = {name: [float(f"{value:.7g}") for value in values] for name, values in answers.items()}
        line = json.dumps({"training": training, "losses": rounded}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
