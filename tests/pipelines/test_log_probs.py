"""`token_log_probs`: transformers' `compute_transition_scores(normalize_logits=True)`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from zen_edge import OptionError
from zen_edge.exporters.checkpoint import load_checkpoint


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1},
        {"num_beams": 4},
        {"num_beams": 3, "num_return_sequences": 3},
        {"num_beams": 1, "no_repeat_ngram_size": 2, "repetition_penalty": 1.3, "suppress_tokens": [116, 30]},
        {"num_beams": 2, "min_new_tokens": 9, "renormalize_logits": True},
    ],
)
def test_each_token(options, pipeline, demo_checkpoint: Path, lines):
    some = lines[2::80]
    checkpoint = load_checkpoint(demo_checkpoint)
    with torch.no_grad():
        encoded = checkpoint.tokenizer(some, return_tensors="pt", padding=True)
        out = checkpoint.model.generate(**encoded, return_dict_in_generate=True, output_scores=True, **options)
        expected = checkpoint.model.compute_transition_scores(out.sequences, out.scores, out.get("beam_indices"), normalize_logits=True).tolist()
    found = [one for line in pipeline.generate(some, token_log_probs=True, **options) for one in line]
    for one, tokens, theirs in zip(found, out.sequences[:, 1:].tolist(), expected, strict=True):
        assert list(one.tokens) == tokens[: len(one.tokens)]
        np.testing.assert_allclose(one.log_probs, theirs[: len(one.tokens)], atol=2e-4)
        if options["num_beams"] == 1:
            assert one.score == pytest.approx(np.mean(one.log_probs))


def test_only_when_asked_for(pipeline):
    assert pipeline.generate("simple game")[0][0].log_probs is None
    assert pipeline.generate("", token_log_probs=True)[0][0].log_probs == ()
    for ask in (pipeline, pipeline.stream):  # they have no place for them
        assert ask("simple game", token_log_probs=False)
        with pytest.raises(OptionError, match=r"token_log_probs=True is for generate\(\)"):
            ask("simple game", token_log_probs=True)
    with pytest.raises(OptionError, match="token_log_probs must be true or false, not 1"):
        pipeline.generate("simple game", token_log_probs=1)
