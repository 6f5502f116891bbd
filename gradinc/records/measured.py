"""Measurements of a finished run's weights, stored in its directory so that they are not repeated.

A run records its own numbers during training. Later measurements of its weights, such as the number of images that
fool them, are stored in ``measured/``, one file for each kind and settings, each with its own seal. A measurement
is valid only for the weights that it was made on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.files import storing, write_json
from gradinc.records.recorded import RecordedRun, finite
from gradinc.records.schemas import read_json
from gradinc.records.seal import SEAL, is_intact, seal

FOLDER = "measured"


@dataclass(frozen=True)
class Measurement:
    """The kind and the settings of a measurement of a run's weights.

    Attributes:
        kind: name of the measurement, the first part of its file's name.
        settings: everything else that its numbers depend on, of JSON's types.
    """

    kind: str
    settings: Mapping[str, Any]

    @property
    def file(self) -> str:
        """Return the name of its file in ``measured/``."""
        text = json.dumps(self.settings, sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"

    def found(self, run: RecordedRun) -> dict[str, float] | None:
        """Return its numbers, or None if it was made on other weights or is damaged."""
        kept, digest = self._kept(run), weights_of(run)
        if kept is None or not is_intact(kept) or digest is None or kept.get("weights_digest") != digest:
            return None
        if kept.get("kind") != self.kind or kept.get("settings") != dict(self.settings):
            return None
        numbers = kept.get("numbers")
        if not isinstance(numbers, dict) or any(finite(number) is None for number in numbers.values()):
            return None
        return {str(name): float(number) for name, number in numbers.items()}

    def is_damaged(self, run: RecordedRun) -> bool:
        """Return whether its file exists and was changed."""
        kept = self._kept(run)
        return not is_intact(kept) if kept is not None else (run.path / FOLDER / self.file).exists()

    def is_unsealed(self, run: RecordedRun) -> bool:
        """Return whether it was written before measurements were sealed."""
        return SEAL not in (self._kept(run) or {SEAL: None})

    def _kept(self, run: RecordedRun) -> dict[str, Any] | None:
        return read_json(run.path / FOLDER / self.file)

    def keep(self, run: RecordedRun, numbers: Mapping[str, float]) -> None:
        """Write its numbers into the run's directory.

        Raises:
            UserError: ``measured/`` is a link or a file.
            StorageError: they could not be written.
        """
        folder = run.path / FOLDER
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            what = "is a link" if folder.is_symlink() else "is not a directory"
            raise UserError(str(folder), f"{what}, where measurements of the run are stored", "Remove it")
        with storing(folder):
            folder.mkdir(exist_ok=True)
        document = {"kind": self.kind, "settings": dict(self.settings), "weights_digest": weights_of(run)}
        write_json(folder / self.file, seal({**document, "numbers": dict(numbers)}, folder))


def weights_of(run: RecordedRun) -> str | None:
    """Return the digest of the weights that a finished run ended with."""
    digest = run.value("result", "weights_digest")
    return digest if run.status == "finished" and isinstance(digest, str) else None
