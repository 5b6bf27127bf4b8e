"""Times and words, against transformers' own functions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration
from transformers.models.whisper import generation_whisper
from transformers.models.whisper.tokenization_whisper import _combine_tokens_into_words

from zen_edge.runtimes.speech.alignment import attention, median_filter, token_times, warp
from zen_edge.runtimes.speech.segments import spans
from zen_edge.runtimes.speech.words import group


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 9), (7, 1), (4, 5), (13, 60)])
def test_the_same_path(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    for ties in (False, True):
        cost = random.integers(0, 3, (rows, columns)).astype(np.float64) if ties else random.normal(size=(rows, columns))
        expected = generation_whisper._dynamic_time_warping(cost)
        for ours, theirs in zip(warp(cost), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_same_filter() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    expected = generation_whisper._median_filter(torch.from_numpy(rows)[None], 7)[0].numpy()
    np.testing.assert_array_equal(median_filter(rows, 7), expected)
    np.testing.assert_array_equal(median_filter(rows[:, :3], 7), rows[:, :3])


class Outputs:
    """Of a greedy `generate`."""

    def __init__(self, cross_attentions: list[list[torch.Tensor]], sequences: torch.Tensor) -> None:
        self.cross_attentions, self.sequences = cross_attentions, sequences

    def __contains__(self, name: str) -> bool:
        return hasattr(self, name)


def test_the_same_times() -> None:
    random = np.random.default_rng(0)
    heads, prompt, tokens, frames = 3, 4, 9, 50
    weights = random.random((1, heads, prompt + tokens, frames)).astype(np.float32) ** 8
    weights /= weights.sum(-1, keepdims=True)
    model = SimpleNamespace(config=SimpleNamespace(decoder_layers=1, median_filter_width=7))
    outputs = Outputs([[torch.from_numpy(weights)]], torch.zeros(1, prompt + tokens + 1))
    theirs = WhisperForConditionalGeneration._extract_token_timestamps
    expected = theirs(model, outputs, [(0, head) for head in range(heads)], num_frames=80, num_input_ids=prompt)[0].tolist()
    times = token_times([weights[0, head, prompt:, :40] for head in range(heads)], 7)
    np.testing.assert_allclose([0.0] * prompt + times + times[-1:], expected, atol=1e-6)
    assert times == sorted(times) and times[0] < times[-1]


def test_attention_of_one_head() -> None:
    random = np.random.default_rng(0)
    query, keys = random.normal(size=(3, 8)).astype(np.float32), random.normal(size=(2, 5, 4)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(query[:, 4:]) @ torch.from_numpy(keys[1]).T, -1).numpy()
    np.testing.assert_allclose(attention(query, keys, 1), expected, rtol=1e-5)


class Letters:
    """A tokenizer whose tokens are bytes, with what transformers' functions ask of one."""

    eos_token_id = 1000
    language = None

    def decode(self, ids: list[int], decode_with_timestamps: bool = False) -> str:
        return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("text", "language", "name"),
    [
        (" Hello, world! It's (very) \"nice\" - isn't it?", "en", "english"),
        (" ¿Qué? ¡Sí! 12.5 % - naïve café.", "es", "spanish"),
        ("日本語の、文章です。", "ja", "japanese"),
        ("", "en", "english"),
        (" 👍🏽 ok", None, None),
    ],
)
def test_the_same_words(text: str, language: str | None, name: str | None) -> None:
    tokens = list(text.encode())
    words, _, places = _combine_tokens_into_words(Letters(), tokens, name)
    ours = group(tokens, Letters().decode, language)
    assert [word for word, _ in ours] == words
    assert [members for _, members in ours] == places


def test_the_same_segments() -> None:
    random = np.random.default_rng(0)
    shapes = set()
    for _ in range(500):
        tokens = random.choice([1, 2, 100, 101, 110, 125, 150], int(random.integers(0, 9))).tolist()
        frames = int(random.integers(1, 301))
        if len(tokens) > 1 and tokens[-1] <= 100 and tokens[-2] >= 100:
            continue  # a window that ends where it begins: transformers would hear it for ever
        theirs, moved = WhisperForConditionalGeneration._retrieve_segment(
            seek_sequence=torch.tensor(tokens, dtype=torch.long), seek_outputs=[None], time_offset=torch.zeros(1, dtype=torch.float64), timestamp_begin=100,
            seek_num_frames=torch.tensor([frames]), time_precision=0.02, time_precision_features=0.01, input_stride=2, prev_idx=0, idx=0,
            return_token_timestamps=False, decoder_input_ids=torch.zeros(1, 0),
        )  # fmt: skip
        found, on = spans(tokens, 100, frames)
        if on != int(moved):  # of an end at 0.0 seconds
            assert int(moved) <= 0 and on == frames
        assert [tokens[one.first : one.last] for one in found] == [one["tokens"].tolist() for one in theirs]
        np.testing.assert_allclose([(one.start, one.end) for one in found], [(float(one["start"]), float(one["end"])) for one in theirs], atol=1e-6)
        shapes.add((len(found), on == frames))
    assert len(shapes) > 3
