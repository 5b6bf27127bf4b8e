"""Every type that AutoModelForCTC loads through its bundle, or refused in words."""

import pytest

from zen_edge.benchmarks.coverage_speech import VARIANTS, row_of
from zen_edge.benchmarks.tiny_speech import model_types

REFUSED = {"granite_speech5_ctc": "torchaudio"}
CASES = [(name, variant, changes) for name in sorted(model_types()) for variant, changes in (("", {}), *VARIANTS.get(name, ()))]


@pytest.mark.sweep
@pytest.mark.parametrize(("model_type", "variant", "changes"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_same_as_pytorch(model_type, variant, changes):
    row = row_of(model_type, variant, changes)
    if model_type in REFUSED:
        assert REFUSED[model_type] in row.reason
        return
    assert row.reason == ""
    assert row.fused == 2
    assert row.identical == "4 of 4"
    assert row.difference < 2e-3
    assert row.int8 < 0.6


def test_a_type_that_is_refused_is_refused_in_words():
    assert REFUSED["granite_speech5_ctc"] in row_of("granite_speech5_ctc").reason


@pytest.mark.sweep
@pytest.mark.parametrize("model_type", ["parakeet_ctc", "wav2vec2-conformer", "wav2vec2-bert"])
def test_int8_quantizes_the_products_of_conformers(export_ctc, model_type):
    """Convolutions over single frames too; what is left are scores by place, one product of two layers each, whose factors both vary."""
    ops = export_ctc(model_type, "int8").bundle.manifest.graph("ctc").ops
    assert "Gemm" not in ops
    assert ops["MatMul"] == 2
    assert ops["MatMulIntegerToFloat"] >= 18
