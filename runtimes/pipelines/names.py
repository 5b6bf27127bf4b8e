"""The names of a pipeline's options, and what to say to one that it does not have."""

from __future__ import annotations

from collections.abc import Iterable

from zen_edge.errors import OptionError
from zen_edge.runtimes.decoding.options import option_names, unknown_option
from zen_edge.runtimes.decoding.unsupported import NEUTRAL

# Beside those of generation.
OWN = ("decoder_prefix", "overflow", "repetition_guard", "should_stop", "source_lang", "target_lang", "token_log_probs")

# transformers' word for something that has another name here
ELSEWHERE = {
    "decoder_input_ids": "decoder_prefix is that, without the start token",
    "logits_processor": "a rule is a file in runtimes/decoding/rules/",
    "output_logits": "token_log_probs=True gives the log-probability of each token",
    "output_scores": "token_log_probs=True gives the log-probability of each token",
    "return_dict_in_generate": "generate() always returns tokens and scores",
    "src_lang": "source_lang is that",
    "stopping_criteria": "should_stop is that",
    "streamer": "stream() gives the text piece by piece",
    "tgt_lang": "target_lang is that",
}


def check_names(names: Iterable[str]) -> None:
    """Raises OptionError for the first that is unknown, with the nearest one."""
    known = option_names() | set(OWN)
    for name in sorted(set(names) - known - NEUTRAL.keys()):
        if name in ELSEWHERE:
            raise OptionError(f"There is no generation option {name}; {ELSEWHERE[name]}.")
        raise OptionError(unknown_option(name, known))
