"""Spoken digits of six speakers."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Positive
from gradinc.data.recordings import recordings
from gradinc.data.source import TEST, TRAIN, Source

RECORDING = re.compile(r"(\d)_([^_]+)_(\d+)\.wav", re.ASCII)
"""A file's name: digit, speaker, number."""

TEST_NUMBERS = 5
"""Recordings of each digit and speaker with a smaller number are the official test part."""


def fsdd(
    root: str | None,
    *,
    seconds: Positive = 1.0,
    mels: Count = 40,
    window: Positive = 0.03,
    hop: Positive = 0.01,
    longest: Positive = 30.0,
) -> Source:
    """Spoken digits: 3,000 recordings of six speakers, as log-mel spectrograms

    data.root=DIR contains recordings/{digit}_{speaker}_{number}.wav, or these files, at 8,000 samples
    per second. The official test part is the numbers 0 to 4 of each digit and speaker. stream=domains
    makes one task of each speaker.

    Args:
        seconds: length of a row: the middle of a longer recording, silence around a shorter one.
        mels: number of bands, equally wide in mel.
        window: length of the window of a frame, in seconds.
        hop: seconds between two frames.
        longest: length of the longest recording that is accepted, in seconds.
    """
    if root is None:
        fix = "Give data.root=DIR with recordings/0_jackson_0.wav and so on"
        raise UserError("data.root", "fsdd needs the folder of the Free Spoken Digit Dataset", fix)
    folder = Path(root).expanduser()
    if (folder / "recordings").is_dir():
        folder = folder / "recordings"
    found = _found(folder)
    digits, speakers, numbers = zip(*(RECORDING.fullmatch(name).groups() for name in found), strict=True)  # type: ignore[union-attr]
    classes = tuple(sorted(set(digits)))
    names = tuple(sorted(set(speakers)))
    y = np.array([classes.index(digit) for digit in digits], np.int64)
    groups = np.array([names.index(speaker) for speaker in speakers], np.int64)
    part = np.where(np.array([int(number) for number in numbers]) < TEST_NUMBERS, TEST, TRAIN).astype(np.int8)
    files = recordings(folder, found, 8000, seconds, mels, window, hop, longest)
    return Source(files, y, classes, part, 1.0, str(folder), groups=groups, group_names=names)


def _found(folder: Path) -> tuple[str, ...]:
    """Return the names of the recordings, sorted."""
    try:
        names = tuple(sorted(name for name in os.listdir(folder) if name.lower().endswith(".wav")))
    except OSError as error:
        raise UserError(f"data.root={folder}", f"cannot be read ({error.strerror})", "Give data.root=DIR") from None
    for name in names:
        if not RECORDING.fullmatch(name):
            what = "is not named {digit}_{speaker}_{number}.wav"
            raise UserError(str(folder / name), what, "Rename or remove it, or use data=audio_folder")
    if len({name[0] for name in names}) < 2:
        what = f"has recordings of {len({name[0] for name in names})} digits, and 2 are necessary"
        raise UserError(f"data.root={folder}", what, "Give data.root=DIR with recordings/0_jackson_0.wav and so on")
    return names
