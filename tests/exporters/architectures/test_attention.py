"""The weights of attention that a bundle keeps, of every family, against those that transformers gives out with `output_attentions`."""

from __future__ import annotations

import numpy as np
import pytest

from zen_edge.errors import UnsupportedModelError
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.reference import Reference
from zen_edge.manifest import read_manifest
from zen_edge.runtimes import load
from zen_edge.runtimes.attention import Attending
from zen_edge.runtimes.batching import pad

from .conftest import FAMILIES
from .test_same_as_generate import LINES

TOLERANCE = 1e-4  # of weights from 0 to 1
WITHOUT_DOUBLE = 2e-3  # of a model that does not run in double precision
ROUNDING = 4  # times what PyTorch's own rounding errors are, which the random weights of some families blow up
EVERY_TIME = ("bart", "t5-gated")  # traced for other tests too; relative positions in the second
IN_BLOCKS = {"pegasus_x"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in EVERY_TIME else pytest.mark.sweep) for name in FAMILIES if name not in IN_BLOCKS]
)
def test_in_a_padded_batch(export_family, keep_attention, name):
    exported = export_family(name)
    folder = keep_attention(exported.bundle.path)
    reference = Reference(load_checkpoint(exported.checkpoint))
    ids, mask = pad([reference.encode(line) for line in LINES], reference.pad_token_id)
    assert (mask == 0).sum() > 20
    rng = np.random.default_rng(0)
    forced = np.concatenate([np.full((len(ids), 1), reference.start_token_id), rng.integers(5, 60, (len(ids), 8))], axis=1)
    expected = reference.attention(ids, mask, forced)
    found = Attending(folder, read_manifest(folder), "cpu", 1).encoder_decoder().weights({"input_ids": ids, "attention_mask": mask}, forced)
    assert found.keys() == expected.keys() == {"encoder", "decoder", "cross"}
    bounds = allowed(reference, expected, ids, mask, forced)
    assert max(bounds.values()) < 0.05
    for kind, weights in expected.items():
        assert found[kind].shape == weights.shape, kind
        assert np.abs(found[kind] - weights).max() < bounds[kind], (kind, bounds[kind])
        assert weights.max() > 0.5  # something to see
    assert not found["cross"][1, ..., mask[1] == 0].any()
    assert not np.triu(found["decoder"], k=1).any()

    with load(folder, threads=1) as pipeline:
        (best, *_) = pipeline.generate(LINES[0], num_beams=2, max_new_tokens=12)[0]
        seen = pipeline.attend(LINES[0], num_beams=2, max_new_tokens=12)
    assert seen.text == best.text
    start = (
        reference.start_token_id
        if "decoder_start_token_id" not in (exported.family.config or {})
        else exported.model.generation_config.decoder_start_token_id
    )
    alone = (ids[:1, : mask[0].sum()], mask[:1, : mask[0].sum()], np.array([[start, *best.tokens[:-1]]]))
    one = reference.attention(*alone)
    bounds = allowed(reference, one, *alone)
    for kind, weights in one.items():
        assert np.abs(seen.weights[kind] - weights[0]).max() < bounds[kind], (kind, bounds[kind])
        S, T = map(len, seen.tokens(kind))
        assert seen.weights[kind].shape[-2:] == (S, T)


def allowed(reference: Reference, expected: dict[str, np.ndarray], *given: np.ndarray) -> dict[str, float]:
    """How far `expected` may be missed, by kind: PyTorch in double precision tells how exact its single precision is."""
    model = reference._model
    try:
        model.double()
        exact = reference.attention(*given)
    except RuntimeError:  # FSMT's own masks are too low for its casts there
        return dict.fromkeys(expected, WITHOUT_DOUBLE)
    finally:
        model.float()
    return {kind: max(TOLERANCE, ROUNDING * float(np.abs(exact[kind] - weights).max())) for kind, weights in expected.items()}


@pytest.mark.sweep
@pytest.mark.parametrize("name", sorted(IN_BLOCKS))
def test_attention_in_blocks_is_refused(export_family, keep_attention, name):
    with pytest.raises(UnsupportedModelError, match="attends to a part of the tokens at a time"):
        keep_attention(export_family(name).bundle.path)
