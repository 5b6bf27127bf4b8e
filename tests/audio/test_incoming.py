"""Sound in blocks: the same samples however it is divided, and one clear error for what is no sound."""

from __future__ import annotations

import numpy as np
import pytest

from zen_edge.errors import AudioError
from zen_edge.runtimes.audio import read_audio
from zen_edge.runtimes.audio.incoming import Incoming, Tape


def joined(incoming: Incoming, blocks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([*(piece for block in blocks for piece in incoming.feed(block)), *incoming.finish()])


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_the_same_samples_in_blocks_of_any_size(rate):
    sound = np.random.default_rng(rate).normal(0, 0.1, 2 * rate).astype(np.float32)
    whole = read_audio(sound, rate, 16000)
    for sizes in ([len(sound)], [0, 1, 0, 7, 500, 1, rate, 0], [333] * 50, [1] * 2000):
        blocks = np.split(sound, np.cumsum(sizes))
        np.testing.assert_array_equal(joined(Incoming(rate, 16000), blocks), whole)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_no_clicks_at_the_borders(rate):
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    found = joined(Incoming(rate, 16000), np.array_split(tone, 97))
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(found) == 16000
    assert np.abs(found - expected)[200:-200].max() < 1e-3


def test_channels_and_integers():
    stereo = np.random.default_rng(0).integers(-3000, 3000, (1000, 2)).astype(np.int16)
    found = joined(Incoming(16000, 16000), [stereo[:1], stereo[1:1], stereo[1:3], stereo[3:]])
    np.testing.assert_allclose(found, stereo.mean(axis=1) / 2**15, atol=1e-7)


WRONG = (
    (np.array([0.1, np.nan], np.float32), "not finite"),
    (np.array([0.1, np.inf], np.float32), "not finite"),
    (np.full(3, 1e12), "floats in -1..1"),
    (np.zeros((2, 160), np.float32), r"up to 32 channels.*\(2, 160\)"),
    (np.zeros((4, 0), np.float32), r"\(4, 0\)"),
    (np.zeros((2, 2, 2), np.float32), r"\(2, 2, 2\)"),
    (np.zeros((5, 2), np.float32), "2 channels, and those before it 1"),
    (np.zeros(4, np.complex64), "complex64"),
    (np.float32(0.5), "numpy arrays"),
    ([0.0, 0.1], "given was a list"),
    (b"\0\0", "given was a bytes"),
)


@pytest.mark.parametrize(("block", "says"), WRONG, ids=[says for _, says in WRONG])
def test_a_wrong_block_is_left_out(block, says):
    sound = np.random.default_rng(1).normal(0, 0.1, 32000).astype(np.float32)
    incoming = Incoming(32000, 16000)
    found = list(incoming.feed(sound[:16000]))
    with pytest.raises(AudioError, match=rf"^the block at 0\.50 s of the stream: .*{says}") as error:
        incoming.feed(block)
    assert "\n" not in str(error.value)
    found += [*incoming.feed(sound[16000:]), *incoming.finish()]
    np.testing.assert_array_equal(np.concatenate(found), read_audio(sound, 32000, 16000))


@pytest.mark.parametrize("rate", [None, 0, 16000.0, -8000, True, 10**9])
def test_a_wrong_rate(rate):
    with pytest.raises(AudioError, match="sampling_rate is"):
        Incoming(rate, 16000)


def test_a_block_may_be_used_again_by_its_owner():
    block = np.ones(100, np.float32)
    (found,) = Incoming(16000, 16000).feed(block)
    block[:] = 0
    assert found.all()


def test_a_tape_keeps_what_lies_between():
    tape, sound = Tape(), np.arange(500_000, dtype=np.float32)
    for start in range(0, len(sound), 7000):
        tape.add(sound[start : start + 7000])
        assert tape.end == min(start + 7000, len(sound))
        first = max(tape.end - 100_000, 0)
        np.testing.assert_array_equal(tape.cut(first, tape.end - 10), sound[first : tape.end - 10])
        tape.forget(tape.end - 100_000)
        tape.forget(0)
    assert len(tape._buffer) < 300_000
    tape.forget(len(sound))
    assert len(tape.cut(len(sound), len(sound))) == 0
