"""Options: transformers' names, defaults and precedence; what cannot be honoured is an error."""

import numpy as np
import pytest
from transformers import GenerationConfig

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding import GenerationOptions, rules

MARIAN = {  # a generation_config.json as the hub holds it
    "_from_model_config": True,
    "bad_words_ids": [[58100]],
    "bos_token_id": 0,
    "decoder_start_token_id": 58100,
    "eos_token_id": 0,
    "forced_eos_token_id": 0,
    "max_length": 512,
    "num_beams": 4,
    "pad_token_id": 58100,
    "transformers_version": "4.32.0",
    "use_cache": True,
    "output_attentions": False,
}


def test_a_checkpoint_and_its_caller():
    options = GenerationOptions.from_defaults(MARIAN, num_beams=2, length_penalty=0.5)
    assert options.num_beams == 2
    assert options.length_penalty == 0.5
    assert options.as_dict()["bad_words_ids"] == [[58100]]
    assert options.length_limit(1) == 512
    assert GenerationOptions.from_defaults(options.as_dict()) == options


@pytest.mark.parametrize(
    ("defaults", "overrides", "limit"),
    [
        ({}, {}, 23),
        ({"max_length": 20}, {}, 20),
        ({"max_length": 50}, {"max_new_tokens": 7}, 10),
        ({"max_new_tokens": 7}, {"max_length": 50}, 10),
        ({"max_length": 50}, {"max_length": None}, 23),
        ({"max_length": 50}, {"max_length": 9}, 9),
    ],
)
def test_how_long(defaults, overrides, limit):
    """For a decoder start of 3 ids; transformers' 20 are new tokens unless somebody said max_length."""
    assert GenerationOptions.from_defaults(defaults, **overrides).length_limit(3) == limit


def test_defaults_are_those_of_transformers():
    ours = GenerationOptions().as_dict()
    theirs = GenerationConfig()._get_default_generation_params()
    assert {name: theirs.get(name) for name in ours} | {"max_length": None} == ours


def test_everything_transformers_knows_is_honoured_refused_or_harmless():
    """A default config as transformers writes it out in full changes nothing."""
    assert GenerationOptions.from_defaults(GenerationConfig().to_dict()) == GenerationOptions()
    assert GenerationOptions.from_defaults(GenerationConfig()._get_default_generation_params() | {"max_length": None}) == GenerationOptions()


@pytest.mark.parametrize(
    "defaults", [{"do_sample": False, "temperature": 0.7, "top_p": 0.9}, {"lang_to_id": {"<|en|>": 5}}, {"use_cache": False}, {"num_beam_groups": 1}]
)
def test_harmless_defaults(defaults):
    assert GenerationOptions.from_defaults(defaults) == GenerationOptions()


@pytest.mark.parametrize(
    "defaults",
    [
        {"num_beam_groups": 2},
        {"diversity_penalty": 0.5},
        {"stop_strings": ["."]},
        {"penalty_alpha": 0.6},
    ],
)
def test_what_cannot_be_honoured(defaults):
    (name,) = defaults
    with pytest.raises(OptionError, match=f"generation_config asks for {name}=.* not supported"):
        GenerationOptions.from_defaults(defaults)
    with pytest.raises(OptionError, match=f"{name}=.* not supported"):
        GenerationOptions.from_defaults({}, **defaults)
    assert GenerationOptions.from_defaults(defaults, **{name: None}) == GenerationOptions()


SAMPLING = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.5, "epsilon_cutoff": 1e-3, "eta_cutoff": 1e-3}


@pytest.mark.parametrize("name", SAMPLING)
def test_what_only_sampling_looks_at(name):
    """From a caller who does not sample it is a mistake; a checkpoint may hold anything."""
    with pytest.raises(OptionError, match=f"{name}=.* is not supported without sampling: set do_sample to True"):
        GenerationOptions.from_defaults({}, **{name: SAMPLING[name]})
    assert GenerationOptions.from_defaults({name: SAMPLING[name]}) == GenerationOptions()
    assert GenerationOptions.from_defaults({name: 1e9}, **{name: None}) == GenerationOptions()
    sampled = GenerationOptions.from_defaults({name: SAMPLING[name]}, do_sample=True)
    assert sampled.as_dict()[name] == SAMPLING[name]
    assert (
        sampled == GenerationOptions.from_defaults({}, do_sample=True, **{name: SAMPLING[name]}) == GenerationOptions.from_defaults(sampled.as_dict())
    )


def test_sampling_asked_for_by_the_checkpoint():
    assert GenerationOptions.from_defaults({"do_sample": True, "temperature": 0.6}, do_sample=False) == GenerationOptions()
    with pytest.raises(OptionError, match=r"top_h=0\.4, which is not supported"):
        GenerationOptions.from_defaults({"do_sample": True, "top_h": 0.4})
    assert GenerationOptions.from_defaults({"do_sample": True}, num_return_sequences=7).num_return_sequences == 7
    with pytest.raises(OptionError, match=r"finds no more than that \(sampling with num_beams=1 does\)"):
        GenerationOptions.from_defaults({"do_sample": True}, num_return_sequences=7, num_beams=2)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(OptionError, match=r"no generation option num_beam; did you mean num_beams\?.*There are: .*bad_words_ids, .*rules/"):
        GenerationOptions.from_defaults({}, num_beam=3)
    with pytest.raises(OptionError, match="no generation option use_cache"):
        GenerationOptions.from_defaults({}, use_cache=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_beams": 0}, "num_beams must be a whole number of at least 1, not 0"),
        ({"num_beams": 2.0}, "num_beams must be a whole number"),
        ({"num_beams": True}, "num_beams must be a whole number"),
        ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences is 3, but a search with num_beams=2"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2, but a search with num_beams=1"),
        ({"length_penalty": "1"}, "length_penalty must be a number"),
        ({"length_penalty": float("nan")}, "length_penalty must be a number"),
        ({"early_stopping": "always"}, "early_stopping must be true, false or 'never'"),
        ({"early_stopping": 1}, "early_stopping must be"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1"),
        ({"max_length": -4}, "max_length must be"),
        ({"min_length": -1}, "min_length must be a whole number of at least 0"),
        ({"min_new_tokens": -1}, "min_new_tokens must be"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size must be"),
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0"),
        ({"repetition_penalty": "high"}, "repetition_penalty must be a number"),
        ({"bad_words_ids": []}, "bad_words_ids must be a list of lists"),
        ({"bad_words_ids": [3]}, "bad_words_ids must be a list of lists"),
        ({"bad_words_ids": [[]]}, "empty list"),
        ({"bad_words_ids": [["a"]]}, "each list in bad_words_ids must be"),
        ({"eos_token_id": "</s>"}, "eos_token_id must be a token id or a list of token ids"),
        ({"suppress_tokens": [1.5]}, "suppress_tokens must be"),
        ({"begin_suppress_tokens": "all"}, "begin_suppress_tokens must be"),
        ({"forced_bos_token_id": "de"}, "forced_bos_token_id must be"),
        ({"forced_eos_token_id": True}, "forced_eos_token_id must be"),
        ({"pad_token_id": -1}, "pad_token_id must be"),
        ({"do_sample": 1}, "do_sample must be true or false"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"do_sample": True, "temperature": 0}, "temperature must be above 0, not 0; .* do_sample to False"),
        ({"do_sample": True, "temperature": "hot"}, "temperature must be a number"),
        ({"do_sample": True, "top_k": -1}, "top_k must be a whole number"),
        ({"do_sample": True, "top_p": 1.5}, r"top_p must be between 0 and 1, not 1\.5"),
        ({"do_sample": True, "min_p": -0.1}, "min_p must be between 0 and 1"),
        ({"do_sample": True, "typical_p": 0}, "typical_p must be above 0 and at most 1"),
        ({"do_sample": True, "epsilon_cutoff": 1}, "epsilon_cutoff must be at least 0 and below 1"),
        ({"do_sample": True, "eta_cutoff": -1}, "eta_cutoff must be at least 0 and below 1"),
        ({"encoder_no_repeat_ngram_size": -1}, "encoder_no_repeat_ngram_size must be"),
        ({"encoder_repetition_penalty": 0}, "encoder_repetition_penalty must be above 0"),
        ({"sequence_bias": []}, "sequence_bias must be a list of pairs"),
        ({"sequence_bias": [[1, 2.0, 3]]}, "sequence_bias must be a list of pairs"),
        ({"sequence_bias": [[[], 2.0]]}, "sequence_bias holds an empty sequence"),
        ({"sequence_bias": {("a",): 2.0}}, "each sequence in sequence_bias must be"),
        ({"sequence_bias": [[[1], "2"]]}, "each bias in sequence_bias must be a number"),
        ({"exponential_decay_length_penalty": 1.1}, "must be a pair"),
        ({"exponential_decay_length_penalty": [1.5, 1.1]}, "the number of tokens in exponential_decay_length_penalty must be a whole number"),
        ({"exponential_decay_length_penalty": [1, "2"]}, "the factor in exponential_decay_length_penalty must be a number"),
    ],
)
def test_wrong_values(overrides, message):
    with pytest.raises(OptionError, match=message):
        GenerationOptions.from_defaults({}, **overrides)


NEW_RULE = """
from dataclasses import dataclass
from typing import ClassVar

from zen_edge.runtimes.decoding.rule import Ban, RuleOptions


@dataclass(frozen=True)
class Options(RuleOptions):
    ORDER: ClassVar[int] = 75
    only_even_tokens: bool = False

    def rule(self, setting):
        odd = frozenset(range(1, setting.vocab_size, 2))
        return (lambda ids: Ban([odd] * len(ids))) if self.only_even_tokens else None
"""


def test_a_new_rule_is_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "even.py").write_text(NEW_RULE)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    rules.option_classes.cache_clear()
    try:
        options = GenerationOptions.from_defaults({}, only_even_tokens=True)
        (rule,) = options.active_rules(start_length=1, vocab_size=6)
        assert rule(np.zeros((2, 1), np.int64)).rows == [{1, 3, 5}] * 2
        with pytest.raises(OptionError, match="did you mean only_even_tokens"):
            GenerationOptions.from_defaults({}, only_even_token=True)
    finally:
        rules.option_classes.cache_clear()


def test_where_the_decoder_starts():
    assert GenerationOptions(decoder_start_token_id=4, bos_token_id=2).start_token_id == 4
    assert GenerationOptions(bos_token_id=2).start_token_id == 2
    with pytest.raises(OptionError, match="decoder_start_token_id"):
        _ = GenerationOptions().start_token_id
