"""Log-mel spectrograms: the energy of sound in bands of frequency, over time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-6
"""Energy that is added to every band before the logarithm; samples are between -1 and 1."""


@dataclass(frozen=True)
class LogMel:
    """Function from samples to a log-mel spectrogram.

    A Hann window is moved over the samples without padding, and the squared absolute values of its Fourier transform
    are summed in triangular bands, equally wide in mel. The mel scale is HTK's, ``2595 log10(1 + f / 700)``, from 0 Hz
    to half the rate. A band's triangle has the height 1; dividing it by its area (Slaney) would add a constant to the
    band's logarithm, which the normalisation subtracts again.

    Attributes:
        rate: samples per second.
        mels: number of bands.
        window, hop: length and step of the window, in samples.
    """

    rate: int
    mels: int
    window: int
    hop: int

    @property
    def size(self) -> int:
        """Return the samples of one Fourier transform: a power of two, with zeros on both sides of the window."""
        return 1 << (self.window - 1).bit_length()

    def frames(self, samples: int) -> int:
        """Return the number of frames of a recording."""
        return 1 + (samples - self.size) // self.hop

    @cached_property
    def bands(self) -> np.ndarray:
        """The weight of each frequency of the transform in each band, float64, shape (mels, frequencies)."""
        highest = 2595 * np.log10(1 + self.rate / 2 / 700)
        edges = 700 * (10 ** (np.linspace(0, highest, self.mels + 2) / 2595) - 1)
        rising, falling = np.diff(edges)[:-1, None], np.diff(edges)[1:, None]
        frequencies = np.arange(self.size // 2 + 1) * self.rate / self.size
        left, right = (frequencies - edges[:-2, None]) / rising, (edges[2:, None] - frequencies) / falling
        return np.maximum(0, np.minimum(left, right))

    @property
    def empty_bands(self) -> int:
        """Return the number of bands that contain no frequency of the transform."""
        return int((self.bands.max(1) == 0).sum())

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return the spectrogram of one recording, float32, shape (mels, frames).

        Args:
            samples: float32, shape (samples,).
        """
        bands, window = self._tensors
        exact = torch.from_numpy(samples).double()  # float32 rounds a quiet band by the loudest, and processors differ
        spectrum = torch.stft(exact, self.size, self.hop, self.window, window, center=False, return_complex=True)
        energy = bands @ (spectrum.real.square() + spectrum.imag.square())
        found: np.ndarray = (energy + FLOOR).log().float().numpy()
        return found

    @cached_property
    def _tensors(self) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(self.bands), torch.hann_window(self.window, dtype=torch.float64)
