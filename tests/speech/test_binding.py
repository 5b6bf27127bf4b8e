"""Speech on the path that a GPU takes, with the CPU for the device."""

from __future__ import annotations

import pytest

from .conftest import RATE


@pytest.mark.parametrize("options", [{"language": "en"}, {"language": "fr", "num_beams": 3}, {"timestamps": "word"}], ids=str)
def test_tokens_are_those_of_the_default_path(pipeline, bundle, load_bound, sounds, options):
    options = {"words": True, "segments": True} if "timestamps" in options else options
    recordings = [sounds(2.0, 1), sounds(0.7, 2)]
    expected = pipeline.generate(recordings, sampling_rate=RATE, **options)
    with load_bound(bundle) as bound:
        assert bound.generate(recordings, sampling_rate=RATE, **options) == expected
    assert len({*expected[0][0].tokens}) > 3
