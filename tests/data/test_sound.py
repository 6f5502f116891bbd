"""Recordings: their reading, their spectrograms, and what is refused."""

from __future__ import annotations

import json
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.config.schema import DataSection
from gradinc.data.dataset import Dataset, load_dataset, open_source
from gradinc.data.log_mel import LogMel
from gradinc.data.rows import TensorRows
from gradinc.data.sound import centred, resampled
from gradinc.data.source import TEST, TRAIN
from gradinc.data.stream import open_stream

Section = Callable[..., DataSection]

FSDD = Path(__file__).parents[3] / "shared" / "data" / "fsdd"

LOG_MEL = LogMel(8000, 40, 240, 80)


def tone(hertz: float, seconds: float = 0.5, rate: int = 8000, seed: int = 0) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.01, len(times))
    return (0.4 * np.sin(2 * np.pi * hertz * times) + noise).astype(np.float32)


def save(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    """Write a wav file of 16 bits; samples of shape (n,) or (n, channels)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1 if samples.ndim == 1 else samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """Two classes of six recordings: low and high tones."""
    for name, hertz in (("low", 300), ("high", 1500)):
        for number in range(6):
            save(tmp_path / "tones" / name / f"{number}.wav", tone(hertz + 20 * number, seed=number))
    return tmp_path / "tones"


def opened(section: Section, root: Path, **values: object) -> Dataset:
    return load_dataset(section("audio_folder", root=str(root), rate=8000, **values), "cpu", torch.float32)


def rows_of(dataset: Dataset) -> torch.Tensor:
    return torch.cat([x for part in (dataset.train, dataset.validation, dataset.test) for x, _ in part.chunks(100)])


# ---- spectrograms ----


def test_spectrograms_are_those_of_librosa() -> None:
    """Numbers of librosa 0.11.0: log(melspectrogram(n_fft=256, win_length=240, hop_length=80, center=False, power=2,
    n_mels=40, htk=True, norm=None) + 1e-6), and filters.mel with these arguments."""
    times = np.arange(8000) / 8000
    chirp = 0.5 * np.sin(2 * np.pi * 440 * times) + 0.25 * np.sin(2 * np.pi * (200 + 1500 * times) * times)
    found = LOG_MEL(chirp.astype(np.float32))
    assert found.shape == (40, 97)
    places = {(0, 0): -7.408335, (5, 10): -6.207728, (11, 50): 2.575935, (20, 96): -12.546317, (39, 30): -13.814968}
    for place, value in places.items():
        assert found[place] == pytest.approx(value, abs=2e-4)
    bands = {(0, 1): 0.9390535, (10, 15): 0.9638571, (20, 38): 0.6481859, (39, 120): 0.8197563}
    for place, value in bands.items():
        assert LOG_MEL.bands[place] == pytest.approx(value, abs=1e-6)
    assert LOG_MEL.bands.sum() == pytest.approx(124.01573, abs=1e-4)


def test_another_mel_scale_gives_other_bands() -> None:
    """The other half: these numbers would not fit a matrix of another number of bands or of another rate."""
    for other in (LogMel(8000, 41, 240, 80), LogMel(16000, 40, 240, 80)):
        assert abs(other.bands[10, 15] - 0.9638571) > 0.01


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42)[1:-1] / 2595) - 1)
    for hertz in (250, 1000, 3000):
        loudest = LOG_MEL(tone(hertz)).mean(1).argmax()
        assert abs(centres[loudest] - hertz) == abs(centres - hertz).min()


def test_short_recordings_get_silence_on_both_sides_and_long_ones_lose_both_ends() -> None:
    samples = np.arange(1, 6, dtype=np.float32)
    assert centred(samples, 8).tolist() == [0, 1, 2, 3, 4, 5, 0, 0] or centred(samples, 8).tolist() == [
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        0,
    ]
    assert centred(samples, 3).tolist() == [2, 3, 4]
    assert centred(samples, 5).tolist() == samples.tolist()


def test_a_tone_is_the_same_at_another_rate() -> None:
    at_cd_rate = resampled(tone(440, rate=44100), 44100, 8000)
    middle = slice(500, 3500)
    np.testing.assert_allclose(
        at_cd_rate[middle], 0.4 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)[middle], atol=0.03
    )


# ---- reading ----


def test_rows_are_the_files_in_every_format(section: Section, tmp_path: Path) -> None:
    """The same sound as wav of 16 and 24 bits and float, flac, stereo and at 44.1 kHz is the same row."""
    sound = tone(440)
    kinds = {
        "a.wav": "PCM_16",
        "b.wav": "PCM_24",
        "c.wav": "FLOAT",
        "d.flac": "PCM_16",
        "e.wav": "PCM_U8",
        "f.ogg": None,
    }
    for name, kind in kinds.items():
        (tmp_path / "x").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "x" / name, sound, 8000, subtype=kind)
    save(tmp_path / "x" / "g.wav", np.stack((sound + 0.1, sound - 0.1), 1))
    save(tmp_path / "x" / "h.wav", tone(440, rate=44100), 44100)
    for number in range(8):
        save(tmp_path / "y" / f"{number}.wav", tone(1500, seed=number))
    files = open_source("audio_folder", str(tmp_path), {"rate": 8000}).x
    assert not isinstance(files, np.ndarray)
    rows = [files.decode(row, (tmp_path / files.paths[row]).read_bytes()) for row in range(8)]
    inside = slice(30, 65)  # the frames without silence
    band = int(rows[0][:, inside].mean(1).argmax())
    for row in rows:
        np.testing.assert_allclose(row[band, inside], rows[0][band, inside], atol=0.2)
    for row in (rows[place] for place in (1, 2, 3, 6)):  # the others are rounded to 8 bits, compressed or resampled
        np.testing.assert_allclose(row[3:, inside], rows[0][3:, inside], atol=0.02)
    assert np.abs(rows[4] - rows[0]).max() > 0.5


@pytest.mark.parametrize("memory", ["tensor", "stream"])
def test_streamed_and_stored_rows_are_the_same(section: Section, tones: Path, memory: str) -> None:
    stored, again = opened(section, tones), opened(section, tones, memory=memory)
    assert isinstance(stored.train, TensorRows)
    assert stored.record() == again.record()
    assert torch.equal(rows_of(stored), rows_of(again))
    train = torch.cat([x for x, _ in stored.train.chunks(100)]).double()
    torch.testing.assert_close(train.mean((0, 2)), torch.zeros(40, dtype=torch.float64), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std((0, 2), correction=0), torch.ones(40, dtype=torch.float64), atol=1e-5, rtol=0)


def test_a_changed_byte_a_renamed_file_and_another_class_change_the_digest(section: Section, tones: Path) -> None:
    digests = [opened(section, tones).digest]
    (tones / "low" / "0.wav").rename(tones / "low" / "9.wav")
    digests.append(opened(section, tones).digest)
    save(tones / "low" / "9.wav", tone(301))
    digests.append(opened(section, tones).digest)
    (tones / "low" / "9.wav").rename(tones / "high" / "9.wav")
    digests.append(opened(section, tones).digest)
    assert len(set(digests)) == 4


WRONG = {
    "empty": (lambda wav: b"", "it is empty"),
    "text": (lambda wav: b"hello", "neither wav, flac nor ogg"),
    "header": (lambda wav: wav[:20], "not a usable recording"),
    "cut": (lambda wav: wav[:-400], "it ends after 3,800 of 4,000 samples"),
    "none": (lambda wav: wav[:40] + struct.pack("<I", 0), "it has no samples"),
    "rate": (lambda wav: wav[:24] + struct.pack("<I", 10) + wav[28:], "its rate is 10 samples per second"),
    "short": (lambda wav: wav[:40] + struct.pack("<I", 200) + wav[44:244], "less than one window of data.window=0.03"),
    "flac": (lambda wav: b"fLaC" + wav[4:], "not a usable recording"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_named_with_what_is_wrong(section: Section, tones: Path, kind: str) -> None:
    change, reason = WRONG[kind]
    path = tones / "low" / "3.wav"
    path.write_bytes(change(path.read_bytes()))
    for memory in ("tensor", "stream"):
        with pytest.raises(UserError) as caught:
            opened(section, tones, memory=memory)
        assert caught.value.where == str(path)
        assert reason in caught.value.what
        assert caught.value.fix == "Replace the file or remove it"


def test_a_recording_that_is_too_long_or_not_finite_is_refused(section: Section, tones: Path) -> None:
    save(tones / "low" / "3.wav", tone(300, seconds=31))
    with pytest.raises(UserError, match=r"it lasts 31 s, more than data.longest=30"):
        opened(section, tones)
    assert len(opened(section, tones, longest=60.0).train) > 0
    samples = tone(300)
    samples[7] = np.nan
    soundfile.write(tones / "low" / "3.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(UserError, match="NaN or Inf"):
        opened(section, tones)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.01}, r"data.seconds=0.01: is less than one Fourier transform of 256 samples"),
        ({"mels": 200}, r"data.mels=200: gives \d+ bands without a frequency"),
        ({"hop": 0.05}, r"data.hop=0.05: is longer than data.window=0.03"),
        ({"hop": 0.00001}, r"data.hop=1e-05: is less than a sample"),
        ({"longest": 0.5}, r"data.longest=0.5: is less than data.seconds=1"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    section: Section, tones: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened(section, tones, **options)


def test_a_recording_of_another_format_is_refused_and_other_files_are_left_out(section: Section, tones: Path) -> None:
    for name in ("README.md", "labels.csv", "low.json", ".hidden.mp3"):
        (tones / "low" / name).write_text("notes")
    whole = opened(section, tones)
    assert sum(len(part) for part in (whole.train, whole.validation, whole.test)) == 12
    (tones / "high" / "deep").mkdir()
    (tones / "high" / "deep" / "Song.MP3").write_bytes(b"ID3")
    with pytest.raises(UserError) as caught:
        opened(section, tones)
    line = "has a format that is not read: recordings are wav flac ogg. Convert it to wav, or remove it"
    assert str(caught.value).startswith(f"{tones}/high/deep/Song.MP3: {line}")


def test_without_soundfile_only_plain_wav_can_be_read(
    section: Section, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert len(opened(section, tones).train) > 0
    content = (tones / "low" / "3.wav").read_bytes()
    (tones / "low" / "3.wav").write_bytes(b"fLaC" + content[4:])
    with pytest.raises(UserError) as caught:
        opened(section, tones)
    assert caught.value.fix == "pip install gradinc[speech]"


# ---- the Free Spoken Digit Dataset ----


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A small set with the same names: three digits of two speakers, seven recordings each."""
    for digit in range(3):
        for place, speaker in enumerate(("anna", "ben")):
            for number in range(7):
                samples = tone(300 + 600 * digit + 150 * place, seed=number)
                save(tmp_path / "recordings" / f"{digit}_{speaker}_{number}.wav", samples)
    return tmp_path


def test_the_official_test_part_is_the_numbers_below_five(digits: Path) -> None:
    source = open_source("fsdd", str(digits), {})
    assert source.classes == ("0", "1", "2")
    assert source.part is not None
    assert (int((source.part == TEST).sum()), int((source.part == TRAIN).sum())) == (30, 12)
    assert source.shape == (40, 97)


def test_domains_makes_a_task_of_each_speaker(digits: Path) -> None:
    config = load_config(["data=fsdd", f"data.root={digits}", "model=linear", "stream=domains", "data.validation=0"])
    stream = open_stream(config, load_dataset(config.data, "cpu", torch.float32))
    assert len(stream) == 2
    assert [task["group"] for task in stream.record()["tasks"]] == ["anna", "ben"]
    whole = [torch.cat([x for x, _ in stream[task].test.chunks(99)]) for task in range(2)]
    assert [len(x) for x in whole] == [15, 15]
    assert [len(stream[task].train) for task in range(2)] == [6, 6]
    assert stream[1].train.y.bincount().tolist() == [2, 2, 2]
    assert not torch.equal(*whole)


def test_wrong_names_and_folders_are_refused(digits: Path, tmp_path: Path) -> None:
    def message(root: Path | None) -> str:
        with pytest.raises(UserError) as caught:
            open_source("fsdd", None if root is None else str(root), {})
        return str(caught.value)

    assert message(None).startswith("data.root: fsdd needs the folder")
    assert "No such file" in message(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "has recordings of 0 digits" in message(tmp_path / "empty")
    (digits / "recordings" / "seven.wav").write_bytes(b"")
    assert "seven.wav: is not named {digit}_{speaker}_{number}.wav" in message(digits)


def test_a_run_learns_tones_and_reports_what_it_cannot_do(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=fsdd", f"data.root={digits}", "optimizer=adam", "budget.epochs=20", "data.validation=0"]
    words += ["model=tc_resnet8", "model.width=0.5", "data.batch_size=6", "data.seconds=0.5", "progress=quiet"]
    assert main(["train", *words, f"output={tmp_path / 'out'}", "name=tones"]) == 0
    run = tmp_path / "out" / "tones"
    assert json.loads((run / "result.json").read_text())["test"]["accuracy"] >= 0.9
    capsys.readouterr()
    for command in ("attack", "invert"):
        assert main([command, str(run)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "not images" in err
    assert main(["train", *words, "data.augment=[flip]"]) == 2
    assert main(["train", *words, "stream=rotated"]) == 2


@pytest.mark.skipif(not FSDD.is_dir(), reason="needs the Free Spoken Digit Dataset in ../shared/data/fsdd")
def test_the_real_set_has_six_speakers_and_300_test_recordings() -> None:
    source = open_source("fsdd", str(FSDD), {})
    assert (len(source.x), len(source.group_names), source.classes) == (3000, 6, tuple("0123456789"))
    assert source.part is not None
    assert source.groups is not None
    assert int((source.part == TEST).sum()) == 300
    assert np.unique(source.groups[source.part == TEST], return_counts=True)[1].tolist() == [50] * 6
