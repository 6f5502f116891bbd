"""Recordings in a folder of the user's own."""

from __future__ import annotations

from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Positive
from gradinc.data.folder import SOUND_FILES, scan
from gradinc.data.recordings import recordings
from gradinc.data.source import Source


def audio_folder(
    root: str | None,
    *,
    rate: Count = 16000,
    seconds: Positive = 1.0,
    mels: Count = 40,
    window: Positive = 0.03,
    hop: Positive = 0.01,
    longest: Positive = 30.0,
) -> Source:
    """Your own recordings: data.root=DIR with one folder for each class

    DIR/<class>/*.wav is split by data.validation and data.test; DIR/train/<class>/*.wav, DIR/val and
    DIR/test are used as they are. Formats: wav flac ogg; another audio format, such as mp3, is an error. Rows
    are log-mel spectrograms. Stereo becomes mono. Everything except wav of 16 bits needs gradinc[speech].

    Args:
        rate: samples per second; recordings with another rate are converted to it.
        seconds: length of a row: the middle of a longer recording, silence around a shorter one.
        mels: number of bands, equally wide in mel.
        window: length of the window of a frame, in seconds.
        hop: seconds between two frames.
        longest: length of the longest recording that is accepted, in seconds.
    """
    if root is None:
        fix = f"Give data.root=DIR, laid out as {SOUND_FILES.layout}"
        raise UserError("data.root", "audio_folder needs a folder", fix)
    folder = Path(root).expanduser()
    paths, classes, y, part = scan(folder, SOUND_FILES)
    files = recordings(folder, paths, rate, seconds, mels, window, hop, longest)
    return Source(files, y, classes, part, 1.0, str(folder))
