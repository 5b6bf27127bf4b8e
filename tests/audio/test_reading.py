"""Files, bytes and arrays: the right sound, or one clear line."""

import io
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio import read_audio, read_blocks

FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_24", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(audio, rate, kind="WAV", subtype=None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=kind, subtype=subtype or FORMATS[kind])
    return file.getvalue()


def error_between(found, expected) -> float:
    """Largest difference, ends aside: filters ring there."""
    assert abs(len(found) - len(expected)) <= 1
    n = min(len(found), len(expected))
    return float(np.abs(found[:n] - expected[:n])[400:-400].max())


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_a_tone_stays_one_at_another_rate(rate):
    found = read_audio(tone(1.0, rate).astype(np.float32), rate, 16000)
    assert found.dtype == np.float32 and found.ndim == 1
    assert error_between(found, tone(1.0, 16000)) < 2e-3


def test_what_the_new_rate_cannot_carry_is_gone():
    assert np.abs(read_audio(tone(1.0, 48000, 12000.0), 48000, 16000)[400:-400]).max() < 1e-3


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float32", "float64", "float16"])
def test_arrays_of_every_kind(kind, channels):
    floats = tone(0.5, 16000)
    scaled = {"int16": floats * 2**15, "int32": floats * 2**31, "uint8": floats * 128 + 128}.get(kind, floats).astype(kind)
    found = read_audio(np.stack([scaled] * channels, axis=1) if channels > 1 else scaled, 16000, 16000)
    assert np.abs(found - floats).max() < {"uint8": 0.01, "float16": 1e-3}.get(kind, 1e-4)


def test_channels_are_averaged():
    left, right = tone(0.5, 16000), tone(0.5, 16000, 1000.0)
    assert np.abs(read_audio(np.stack([left, right], axis=1), 16000, 16000) - (left + right) / 2).max() < 1e-6


@pytest.mark.parametrize("kind", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_wav_of_every_kind(kind, tmp_path):
    audio = tone(0.5, 16000)
    (tmp_path / "a.wav").write_bytes(encoded(audio, 16000, "WAV", kind))
    for source in (tmp_path / "a.wav", str(tmp_path / "a.wav"), (tmp_path / "a.wav").read_bytes()):
        assert np.abs(read_audio(source, None, 16000) - audio).max() < (0.01 if kind == "PCM_U8" else 1e-4)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_files_of_every_format(kind, rate):
    stereo = np.stack([tone(1.0, rate)] * 2, axis=1)
    found = read_audio(encoded(stereo, rate, kind), None, 16000)
    assert error_between(found[:16000], tone(1.0, 16000)) < (0.07 if kind in ("MP3", "OGG") else 2e-3)


def test_clipping_and_silence_are_fine():
    clipped = np.clip(4 * tone(0.5, 16000), -1, 1)
    assert np.abs(read_audio(encoded(clipped, 16000), None, 16000) - clipped).max() < 1e-4
    assert not read_audio(encoded(np.zeros(1600), 16000), None, 16000).any()
    assert not read_audio(encoded(np.zeros(1600), 8000), None, 16000).any()


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize(("seconds", "samples"), [(0.01, 1), (3.0, 1600), (3.0, 30011), (3.0, 10**6)])
def test_blocks_are_the_whole_in_pieces(rate, seconds, samples):
    file = encoded(tone(seconds, rate), rate)
    blocks = list(read_blocks(file, None, 16000, samples))
    assert all(len(block) == samples for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= samples
    assert np.array_equal(np.concatenate(blocks), read_audio(file, None, 16000))


def test_blocks_of_a_long_file_take_little_memory(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((44100 * 5, 2), np.int16))
    tracemalloc.start()
    count = sum(len(block) for block in read_blocks(path, None, 16000, 480000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 300 * 16000
    assert peak < 12e6  # the whole takes 106 MB at 44100 Hz


def noise(seconds):
    return np.random.default_rng(0).normal(0, 0.1, seconds * 16000)


def written(path, content):
    path.write_bytes(content)
    return path


BAD = {
    "no file": (lambda p: p / "nothing.wav", None, "there is no file .*nothing.wav"),
    "folder": (lambda p: p, None, "is a folder"),
    "text": (lambda p: b"this is no sound\n" * 50, None, "cannot be read as audio"),
    "nothing": (lambda p: b"", None, "cannot be read as audio"),
    "cut wav": (lambda p: encoded(tone(1, 16000), 16000)[:16044], None, "cut off: it should last 1.00 s, and ends after 0.50 s"),
    "cut flac": (lambda p: encoded(tone(1, 16000), 16000, "FLAC")[:9000], None, "cannot be read as audio|cut off"),
    "cut mp3": (lambda p: encoded(tone(3, 16000), 16000, "MP3")[:3000], None, "cut off"),
    "cut ogg": (lambda p: encoded(tone(3, 16000), 16000, "OGG")[:3000], None, "cannot be read as audio|cut off"),
    "cut long ogg": (lambda p: encoded(noise(9), 16000, "OGG")[:-1000], None, r"is cut off: it ends within a page, after \d"),
    "cut opus": (lambda p: written(p / "a.ogg", encoded(noise(9), 16000, "OGG", "OPUS")[:-1]), None, "a.ogg is cut off: it ends within a page"),
    "webm": (lambda p: b"\x1aE\xdf\xa3" + bytes(500), None, r"cannot be read as audio \(it is WebM or Matroska\): wav, flac, ogg and mp3 can be"),
    "m4a": (lambda p: written(p / "a.m4a", bytes(3) + b" ftypM4A " + bytes(500)), None, r"\(it is MP4 or M4A\)"),
    "no samples of two": (lambda p: np.zeros((0, 2), np.float32), 16000, "the array holds no sound"),
    "no channels": (lambda p: np.zeros((100, 0), np.float32), 16000, "the array holds no sound"),
    "header": (lambda p: encoded(tone(1, 16000), 16000)[:30], None, "cannot be read as audio"),
    "empty wav": (lambda p: encoded(np.zeros(0), 16000), None, "holds no sound"),
    "empty array": (lambda p: np.zeros(0, np.float32), 16000, "the array holds no sound"),
    "empty array, another rate": (lambda p: np.zeros(0, np.float32), 8000, "the array holds no sound"),
    "nan": (lambda p: np.array([0.1, np.nan, 0.2]), 16000, "not finite"),
    "infinity": (lambda p: np.array([0.1, np.inf, 0.2]), 16000, "not finite"),
    "infinity in a file": (lambda p: encoded(np.array([0.1, np.inf]), 16000, "WAV", "FLOAT"), None, "not finite"),
    "huge": (lambda p: np.array([0.1, 1e30]), 16000, "holds 1e[+]30"),
    "no rate": (lambda p: np.zeros(100, np.float32), None, "give sampling_rate="),
    "rate 0": (lambda p: np.zeros(100, np.float32), 0, "sampling_rate is 0"),
    "rate -1": (lambda p: np.zeros(100, np.float32), -16000, "whole number of Hz"),
    "rate 16": (lambda p: np.zeros(100, np.float32), 16, "from 1000 to 768000"),
    "rate huge": (lambda p: np.zeros(100, np.float32), 10**9, "from 1000 to 768000"),
    "rate text": (lambda p: np.zeros(100, np.float32), "16k", "whole number of Hz"),
    "file's rate": (lambda p: encoded(tone(1, 4000000), 4000000), None, "4000000: a sampling rate"),
    "another rate": (lambda p: encoded(tone(1, 8000), 8000), 16000, "recorded at 8000 Hz, and sampling_rate=16000"),
    "transposed": (lambda p: np.zeros((2, 16000), np.float32), 16000, "transpose it"),
    "cube": (lambda p: np.zeros((2, 3, 4), np.float32), 16000, r"\(2, 3, 4\)"),
    "int64": (lambda p: np.zeros(100, np.int64), 16000, "given was int64"),
    "complex": (lambda p: np.zeros(100, np.complex64), 16000, "given was complex64"),
    "list": (lambda p: [0.1, 0.2], 16000, "given was a list"),
    "none": (lambda p: None, None, "given was a NoneType"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_audio_is_said_in_one_line(name, tmp_path):
    make, rate, message = BAD[name]
    with pytest.raises(AudioError, match=message) as raised:
        read_audio(make(tmp_path), rate, 16000)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 250


def test_every_page_of_an_ogg_is_read():
    for subtype in ("VORBIS", "OPUS"):
        file = encoded(noise(9), 16000, "OGG", subtype)
        assert abs(len(read_audio(file, None, 16000)) - 9 * 16000) < 2000
        pages = file.split(b"OggS\0")
        assert len(read_audio(b"OggS\0".join(pages[:-1]), None, 16000)) > 0  # a stream whose end is not marked, as of programs that were stopped


def test_a_wav_from_a_pipe_is_read():
    """Programs that cannot go back leave the length open."""
    file = bytearray(encoded(tone(1, 16000), 16000))
    file[4:8] = file[40:44] = b"\xff\xff\xff\xff"
    assert len(read_audio(bytes(file), None, 16000)) == 16000


WITHOUT = """
import sys
sys.modules["soundfile"] = sys.modules["soxr"] = None
import numpy as np
from zen_edge.errors import MissingDependencyError
from zen_edge.runtimes.audio import read_audio
print(len(read_audio(np.zeros(100, np.int16), 16000, 16000)))
for source, rate in ((np.zeros(100, np.float32), 8000), (b"RIFF", None)):
    try:
        read_audio(source, rate, 16000)
    except MissingDependencyError as error:
        print(error)
"""


def test_without_the_extra():
    """Arrays at the wanted rate need neither library; for the rest the message names the extra."""
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "100"
    assert "soxr" in said[1] and "soundfile" in said[2]
    assert all('pip install "zen-edge[audio]"' in line for line in said[1:])
