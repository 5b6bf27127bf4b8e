"""Every type that AutoModelForSpeechSeq2Seq loads through its bundle, or refused in words."""

import pytest

from zen_edge.benchmarks.coverage_speech import DECODER_VARIANTS, decoder_row_of, decoder_types
from zen_edge.benchmarks.tiny_utterances import TYPES

CASES = [(name, variant, changes) for name in (*TYPES, "whisper") for variant, changes in (("", {}), *DECODER_VARIANTS.get(name, ()))]


@pytest.mark.sweep
@pytest.mark.parametrize(("model_type", "variant", "changes"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_same_as_pytorch(model_type, variant, changes):
    row = decoder_row_of(model_type, variant, changes)
    assert row.reason == ""
    assert row.fused == (2, 4)
    assert row.identical.partition(" of ")[0] == row.identical.rpartition(" of ")[2]
    assert row.difference < 2e-3
    assert row.int8 < 1


def test_the_others_are_refused_in_words():
    for model_type in set(decoder_types()) - {name for name, *_ in CASES}:
        reason = decoder_row_of(model_type).reason
        assert "The nearest that is exported: " in reason or "the half that reads text is exported" in reason
