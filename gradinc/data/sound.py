"""Recordings in a folder, and their conversion to log-mel spectrograms."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data import log_mel
from gradinc.data.log_mel import LogMel
from gradinc.data.reading import reported
from gradinc.data.source import RowFiles
from gradinc.data.statistics import FeatureSums

RATES = (1_000, 768_000)
"""The lowest and the highest rate of a recording, in samples per second."""


@dataclass(frozen=True)
class SoundFiles(RowFiles):
    """Recordings in a folder, as log-mel spectrograms of one length.

    Channels are averaged, and other rates are converted to the rate of the spectrograms by a polyphase filter. Of a
    longer recording the middle is used, and a shorter one gets silence on both sides.

    Attributes:
        log_mel: the function from samples to a spectrogram.
        samples: length of every row, in samples at the rate of the spectrograms.
        longest: length of the longest recording that is accepted, in seconds.
    """

    log_mel: LogMel
    samples: int
    longest: float
    dtype = np.float32
    cache = "sound"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of one spectrogram: bands, frames."""
        return self.log_mel.mels, self.log_mel.frames(self.samples)

    @property
    def threads(self) -> int:
        return min(2, usable_cores())

    @property
    def key(self) -> str:
        return f"{self.log_mel}\0{self.samples}"

    @property
    def recipe(self) -> bytes:
        return Path(__file__).read_bytes() + Path(log_mel.__file__).read_bytes()

    def decode(self, index: int, content: bytes) -> np.ndarray:
        sound = opened(io.BytesIO(content), str(self.root / self.paths[index]))
        self._check(sound)
        samples = sound.read()
        if len(samples) < sound.frames:
            raise ValueError(f"it ends after {len(samples):,} of {sound.frames:,} samples")
        if not np.isfinite(samples).all():
            raise ValueError("it has samples that are NaN or Inf")
        return self.log_mel(centred(resampled(samples.mean(1), sound.rate, self.log_mel.rate), self.samples))

    def failure(self, error: Exception) -> str:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"not a usable recording ({reason})"

    def check(self) -> None:
        for path in self.paths:
            where = str(self.root / path)
            with reported(self, where), open_plain(self.root / path) as file:
                self._check(opened(file, where))

    def statistics(self) -> FeatureSums:
        return FeatureSums(self.log_mel.mels)

    def _check(self, sound: Sound) -> None:
        """Raise a ValueError if a recording is too short or too long, or has an impossible rate."""
        if not RATES[0] <= sound.rate <= RATES[1]:
            raise ValueError(f"its rate is {sound.rate:,} samples per second, not {RATES[0]:,} to {RATES[1]:,}")
        seconds, shortest = sound.frames / sound.rate, self.log_mel.window / self.log_mel.rate
        if sound.frames == 0:
            raise ValueError("it has no samples")
        if seconds < shortest:
            raise ValueError(f"it lasts {seconds:.3g} s, less than one window of data.window={shortest:g}")
        if seconds > self.longest:
            raise ValueError(f"it lasts {seconds:.4g} s, more than data.longest={self.longest:g}")


class Sound(Protocol):
    """An open recording.

    Attributes:
        rate: samples per second.
        frames: number of samples of each channel, as its header says.
    """

    rate: int
    frames: int

    def read(self) -> np.ndarray:
        """Return the samples, between -1 and 1, float32, shape (samples, channels)."""


class _PlainWave:
    """An uncompressed wav file of 16 bits, which needs no library."""

    def __init__(self, file: wave.Wave_read) -> None:
        self._file, self.rate, self.frames = file, file.getframerate(), file.getnframes()

    def read(self) -> np.ndarray:
        found = self._file.readframes(self.frames)
        channels = self._file.getnchannels()
        whole = len(found) // (2 * channels) * channels
        return (np.frombuffer(found, "<i2", whole).astype(np.float32) / 32768).reshape(-1, channels)


class _Decoded:
    """A file that soundfile reads."""

    def __init__(self, file: Any) -> None:
        self._file, self.rate, self.frames = file, int(file.samplerate), int(file.frames)

    def read(self) -> np.ndarray:
        found: np.ndarray = self._file.read(dtype="float32", always_2d=True)
        return found


def opened(file: BinaryIO, where: str) -> Sound:
    """Open a recording: wav, flac or ogg.

    Args:
        where: its path, for the message about a missing package.

    Raises:
        UserError: the package soundfile is necessary and not installed.
        ValueError: it is another kind of file, or broken.
    """
    mark = file.read(4)
    file.seek(0)
    if mark == b"":
        raise ValueError("it is empty")
    if mark not in (b"RIFF", b"fLaC", b"OggS"):
        raise ValueError("neither wav, flac nor ogg, by its first bytes")
    if mark == b"RIFF":
        try:
            plain = wave.Wave_read(file)
            if plain.getsampwidth() == 2:
                return _PlainWave(plain)
        except (wave.Error, EOFError):
            pass  # another encoding, or broken: soundfile knows more of them
        file.seek(0)
    try:
        import soundfile
    except ImportError:
        what = "compressed sound, and wav other than 16 bits, need the package soundfile"
        raise UserError(where, what, "pip install gradinc[speech]") from None
    try:
        return _Decoded(soundfile.SoundFile(file))
    except soundfile.SoundFileError as error:
        raise ValueError(str(getattr(error, "error_string", error)).strip().rstrip(".")) from None


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Return samples at another rate, float32; at the same rate they are not changed."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly  # takes half a second to import

    common = gcd(rate, wanted)
    found: np.ndarray = resample_poly(samples.astype(np.float64), wanted // common, rate // common)
    return found.astype(np.float32)


def centred(samples: np.ndarray, length: int) -> np.ndarray:
    """Return the middle of samples, or samples with zeros on both sides, shape (length,)."""
    spare = len(samples) - length
    if spare >= 0:
        return np.ascontiguousarray(samples[spare // 2 : spare // 2 + length])
    return np.pad(samples, (-spare // 2, -spare - (-spare // 2)))
