"""A data set of recordings from the options that all of these sets have."""

from __future__ import annotations

from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.data.log_mel import LogMel
from gradinc.data.sound import SoundFiles


def recordings(
    root: Path, paths: tuple[str, ...], rate: int, seconds: float, mels: int, window: float, hop: float, longest: float
) -> SoundFiles:
    """Return recordings as rows.

    Args:
        root, paths: the files.
        rate: samples per second of the spectrograms.
        seconds: length of a row.
        mels: number of bands.
        window, hop: length and step of the window, in seconds.
        longest: length of the longest recording, in seconds.

    Raises:
        UserError: the options do not fit each other.
    """
    log_mel = LogMel(rate, mels, round(window * rate), round(hop * rate))
    if log_mel.window < 2 or log_mel.hop < 1:
        name, value = ("data.hop", hop) if log_mel.hop < 1 else ("data.window", window)
        raise UserError(f"{name}={value:g}", f"is less than a sample at data.rate={rate}", "Give a longer time")
    if log_mel.hop > log_mel.window:
        what = f"is longer than data.window={window:g}, so that some samples would be skipped"
        raise UserError(f"data.hop={hop:g}", what, "Give a shorter one")
    samples = round(seconds * rate)
    if samples < log_mel.size:
        what = f"is less than one Fourier transform of {log_mel.size} samples"
        raise UserError(f"data.seconds={seconds:g}", what, f"Give {log_mel.size / rate:.2g} at least")
    if log_mel.empty_bands:
        what = f"gives {log_mel.empty_bands} bands without a frequency of the Fourier transform"
        raise UserError(f"data.mels={mels}", what, "Give fewer, or a longer data.window")
    if longest < seconds:
        raise UserError(f"data.longest={longest:g}", f"is less than data.seconds={seconds:g}", "Give a longer time")
    return SoundFiles(root, paths, log_mel, samples, longest)
