"""`num_return_sequences`: the best results of a search over one window, as transformers' own search gives them."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import GenerationMixin
from typer.testing import CliRunner

from zen_edge.cli import app
from zen_edge.errors import InputError, OptionError

from .conftest import RATE, without_end

ENGLISH = {"sampling_rate": RATE, "language": "en", "window": "full", "max_new_tokens": 12}
SEVERAL = {"num_beams": 4, "num_return_sequences": 3}


@pytest.mark.parametrize("more", [{}, {"length_penalty": 0.2, "no_repeat_ngram_size": 2}], ids=str)
def test_the_same_results(pipeline, theirs, sounds, more):
    """Of the search below Whisper's `generate`, which itself gives the best one several times where it searches with beams."""
    config = theirs.model.generation_config
    start = [config.decoder_start_token_id, config.lang_to_id["<|en|>"], config.task_to_id["transcribe"], config.no_timestamps_token_id]
    more = {
        **more,
        "suppress_tokens": [*config.suppress_tokens, *range(config.no_timestamps_token_id + 1, theirs.model.config.vocab_size)],
    }  # one window
    for seed in range(2):
        audio = sounds(1.5, seed)
        with torch.no_grad():
            expected = GenerationMixin.generate(
                theirs.model,
                theirs.features(audio).input_features,
                decoder_input_ids=torch.tensor([start]),
                max_new_tokens=12,
                return_dict_in_generate=True,
                output_scores=True,
                **SEVERAL,
                **more,
            )
        (found,) = pipeline.generate(audio, **ENGLISH, **SEVERAL, **more)
        rows = [without_end(row[len(start) :], config.eos_token_id) for row in expected["sequences"].tolist()]
        assert [without_end(one.tokens, config.eos_token_id) for one in found] == rows
        assert [one.score for one in found] == pytest.approx(expected["sequences_scores"].tolist(), abs=1e-4)
        assert [one.text for one in found] == [pipeline.decode(row) for row in rows]
        assert len({one.tokens for one in found}) == 3
        assert found[0] == pipeline.generate(audio, **ENGLISH, **more, num_beams=4)[0][0]
        assert pipeline(audio, **ENGLISH, **SEVERAL, **more) == found[0].text


def test_draws_times_and_words(pipeline, sounds):
    audio = [sounds(1.5, 0), sounds(1.0, 1)]
    drawn = pipeline.generate(audio, **ENGLISH, temperature=0.9, num_return_sequences=4, seed=2)
    assert drawn == pipeline.generate(audio, **ENGLISH, temperature=0.9, num_return_sequences=4, seed=2)
    assert [len({one.tokens for one in results}) for results in drawn] == [4, 4]
    for results in pipeline.generate(audio, **ENGLISH, **SEVERAL, words=True, segments=True, token_log_probs=True):
        assert len(results) == 3
        for one in results:
            end = pipeline.manifest.generation["eos_token_id"]
            assert [token for segment in one.segments for token in segment.tokens] == without_end(one.tokens, end)
            assert len(one.log_probs) == len(one.tokens)
            assert [word.start for word in one.words] == sorted(word.start for word in one.words)
    with pytest.raises(OptionError, match="num_return_sequences"):
        pipeline(audio, **ENGLISH, num_return_sequences=5, num_beams=4)


@pytest.mark.parametrize("batched", [False, True])
def test_long_audio_has_one_transcript(pipeline, sounds, batched):
    long, short = sounds(31.0), sounds(1.0)
    with pytest.raises(InputError, match=r"num_return_sequences=3 is for audio of up to 30 s") as error:
        pipeline.generate(long, **ENGLISH, **SEVERAL, batched=batched)
    assert "\n" not in str(error.value)
    first, second = pipeline.generate_each([long, short], **ENGLISH, **SEVERAL, batched=batched)
    assert isinstance(first, InputError) and len(second) == 3


def test_on_the_command_line(bundle, pipeline, sounds, tmp_path):
    import soundfile

    wav = tmp_path / "a.wav"
    soundfile.write(wav, sounds(1.5), RATE, subtype="FLOAT")
    (found,) = pipeline.generate(wav, language="en", window="full", max_new_tokens=12, task="transcribe", **SEVERAL)
    words = ["run", bundle, wav, "--language", "en", "--window", "full", "--max-new-tokens", 12, "--num-beams", 4, "--num-return-sequences", 3]

    def zen(*more: object):
        return CliRunner().invoke(app, [str(word) for word in (*words, *more)])

    assert zen().stdout.splitlines() == [" ".join(one.text.split()) for one in found]
    assert [one["tokens"] for one in json.loads(zen("--json").stdout)["hypotheses"]] == [list(one.tokens) for one in found]
    refused = zen("--format", "srt")
    assert refused.exit_code == 1 and "cannot be told apart" in refused.stderr
