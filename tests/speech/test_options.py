"""What a recognizer says to options and inputs that it cannot honour, and what it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from zen_edge.errors import AudioError, BundleError, InputError, OptionError, ZenEdgeError
from zen_edge.runtimes.speech.prompts import Vocabulary, prompt
from zen_edge.runtimes.speech.recordings import Streamed, open_recording

from .conftest import RATE

WRONG = (
    ({"language": "klingon"}, "klingon.*It has en, fr, ja"),
    ({"language": "frensh"}, "did you mean 'french'"),
    ({"language": 3}, "one text for all inputs"),
    ({"language": ["en", "fr"]}, "one for each of the 1"),
    ({"task": "summarize"}, "transcribe, translate"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": ()}, "empty"),
    ({"no_speech_threshold": 0.6}, "logprob_threshold"),
    ({"prompt": "a", "prompt_ids": [1]}, "leave one out"),
    ({"prompt": "<|en|>"}, "special tokens"),
    ({"prompt_ids": [99999]}, "prompt_ids names"),
    ({"prompt_condition_type": "all-segments"}, "condition_on_prev_tokens"),
    ({"return_timestamps": False, "segments": True}, "leave one out"),
    ({"return_timestamps": "words"}, "true or false"),
    ({"num_return_sequences": 2}, "num_return_sequences"),
    ({"should_stop": True}, "should_stop must be a function"),
    ({"source_lang": "en"}, "no generation option source_lang"),
    ({"encoder_repetition_penalty": 1.2}, "not for speech"),
    ({"max_new_tokens": 64}, "positions"),
    ({"top_k": 3}, "do_sample"),
)


@pytest.mark.parametrize(("options", "says"), WRONG, ids=[str(options) for options, _ in WRONG])
def test_wrong_options(pipeline, sounds, options, says):
    with pytest.raises(OptionError, match=says) as error:
        pipeline(sounds(0.5), sampling_rate=RATE, **options)
    assert "\n" not in str(error.value)


def test_wrong_inputs(pipeline, sounds, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF and nothing else")
    for bad in (tmp_path / "none.wav", tmp_path / "a.wav", tmp_path, b"", np.zeros((2, 2, 2), np.float32), np.array([np.nan], np.float32)):
        with pytest.raises(AudioError) as error:
            pipeline(bad, sampling_rate=RATE if isinstance(bad, np.ndarray) else None)
        assert "\n" not in str(error.value)
    with pytest.raises(AudioError, match="sampling_rate"):
        pipeline(sounds(0.5))
    with pytest.raises(InputError, match="a path, bytes"):
        pipeline(7)
    with pytest.raises(InputError, match=r"input 2 of 2: .*none\.wav"):
        pipeline([sounds(0.5), str(tmp_path / "none.wav")], sampling_rate=RATE)
    with pytest.raises(InputError, match="return_timestamps=False"):
        pipeline(sounds(31.0), sampling_rate=RATE, return_timestamps=False)
    first, second = pipeline.generate_each([tmp_path / "none.wav", sounds(0.5)], sampling_rate=RATE, task="transcribe")
    assert isinstance(first, AudioError)
    assert second[0].text == pipeline(sounds(0.5), sampling_rate=RATE)


def test_nothing_at_all(pipeline):
    assert pipeline([]) == []


def test_closed(bundle):
    import zen_edge

    opened = zen_edge.load(bundle, threads=1)
    opened.close()
    with pytest.raises(ZenEdgeError, match="closed"):
        opened(np.zeros(RATE, np.float32), sampling_rate=RATE)


LANGUAGES, TASKS = {"<|en|>": 20, "<|fr|>": 21}, {"transcribe": 25, "translate": 26}
CONFIGS = (
    {"lang_to_id": LANGUAGES, "task_to_id": TASKS, "is_multilingual": True},
    {"lang_to_id": LANGUAGES, "task_to_id": TASKS, "is_multilingual": True, "forced_decoder_ids": [[1, None], [2, 25]]},
    {"lang_to_id": LANGUAGES, "task_to_id": TASKS, "is_multilingual": True, "forced_decoder_ids": [[1, 21], [2, 26], [3, 28]]},
    {"lang_to_id": LANGUAGES, "task_to_id": TASKS, "is_multilingual": True, "language": "fr", "task": "translate"},
    {"is_multilingual": False, "forced_decoder_ids": [[1, 28]]},
    {"is_multilingual": False},
)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_same_prompts(config):
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1, "decoder_attention_heads": 1, "num_mel_bins": 4}
    special = {"bos_token_id": 18, "eos_token_id": 18, "pad_token_id": 18, "decoder_start_token_id": 19}
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=32, max_source_positions=4, **sizes, **special)).eval()
    own = {"no_timestamps_token_id": 28, **special, **config}
    vocabulary = Vocabulary.of(own, 32)
    detected = model.detect_language(torch.zeros(1, 4, 8), generation_config=GenerationConfig(**own)).item() if "lang_to_id" in config else None
    for language in (None, "fr", "french"):
        for task in (None, "transcribe", "translate"):
            if config["is_multilingual"] is False and (language or task):
                with pytest.raises(OptionError, match="English only"):
                    prompt(vocabulary, own, language=language, task=task, timestamps=False)
                continue
            for timestamps in (False, True):
                theirs = GenerationConfig(**own)
                theirs.return_timestamps = timestamps
                model._set_language_and_task(language, task, None, theirs)
                expected = model._retrieve_init_tokens(torch.zeros(1, 4, 8), 1, theirs, model.config, 8, {})[0].tolist()
                found = prompt(vocabulary, own, language=language, task=task, timestamps=timestamps)
                assert list(found.filled(detected)) == expected
                assert found.detects == (None in found.tokens)


def test_a_damaged_generation_config():
    with pytest.raises(BundleError, match="eos_token_id"):
        Vocabulary.of({"decoder_start_token_id": 1}, 32)
    with pytest.raises(BundleError, match="names"):
        Vocabulary.of({"decoder_start_token_id": 1, "eos_token_id": 99}, 32)


def test_features_in_pieces_are_those_of_the_whole(pipeline, theirs, sounds):
    audio = sounds(95.0, 1)
    expected = theirs.features(audio, long=True).input_features[0].numpy()
    found = Streamed(audio, RATE, pipeline._extractor)
    assert (found.frames, found.samples) == (expected.shape[1], len(audio))
    for start, length in ((0, 3000), (100, 3000), (2999, 3000), (9000, expected.shape[1] - 9000)):
        np.testing.assert_allclose(found.window(start, length), expected[:, start : start + length], atol=1e-4)
    assert found._held.shape[1] < 7000  # what was heard is let go
    _, sound, long = open_recording(audio[: 30 * RATE + 1], RATE, pipeline._extractor, 3000)
    assert (sound, long) == (3001, True)
    features, sound, long = open_recording(audio[: 30 * RATE], RATE, pipeline._extractor, 3000)
    assert (features.frames, sound, long) == (3000, 3000, False)


def test_bisecting_is_refused(bundle, checkpoint):
    import zen_edge

    with pytest.raises(OptionError, match="bisecting"):
        zen_edge.parity(bundle, checkpoint, bisect=True)
