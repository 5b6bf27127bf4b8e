"""The candidates of a step, against numpy."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from zen_edge.exporters.fusions import candidates

TOLERANCE = 1e-5
PLAIN, CHUNKED = 4093, 4104  # a prime; 54 chunks of 76


def logits_graph(words: int, outputs: str = "float[R,S,{words}] logits", producer: str = "logits = Neg(x)") -> ir.Model:
    text = (
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[R,S,{words}] x, float[P] past_key_0) => ({outputs.format(words=words)}) {{ {producer} }}'
    )
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True))


@pytest.fixture(scope="module")
def step():
    """step(scores (R,S,V), K, wanted) -> top_scores, top_ids, log_sum_exp, logits."""
    sessions = {}

    def run(scores: np.ndarray, top_k: int, wanted: bool = True) -> list[np.ndarray]:
        words = scores.shape[-1]
        if words not in sessions:
            model = logits_graph(words)
            assert candidates.apply(model.graph) == 1
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            sessions[words] = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
        feeds = {"x": -scores, "top_k": np.array([top_k]), "want_log_sum_exp": np.array(wanted), "past_key_0": np.zeros(0, np.float32)}
        return sessions[words].run(["top_scores", "top_ids", "log_sum_exp", "logits"], feeds)

    return run


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32) * 5


PLAIN_OPS = ["Neg", "TopK", "If"]
CHUNKED_OPS = [
    "Neg",
    "Reshape",
    "Min",
    "ReduceMax",
    "TopK",
    "Unsqueeze",
    "GatherND",
    "Reshape",
    "TopK",
    "Div",
    "GatherElements",
    "Mul",
    "Mod",
    "Add",
    "If",
]


@pytest.mark.parametrize(
    ("words", "ops"), [(CHUNKED, CHUNKED_OPS), (8001, CHUNKED_OPS), (PLAIN, PLAIN_OPS), (4080, PLAIN_OPS), (4099, PLAIN_OPS), (17, PLAIN_OPS)]
)
def test_operators(words, ops):
    model = logits_graph(words)
    assert candidates.apply(model.graph) == 1
    assert [node.op_type for node in model.graph] == ops
    assert [value.name for value in model.graph.inputs] == ["x", "past_key_0", "top_k", "want_log_sum_exp"]
    assert [value.name for value in model.graph.outputs] == ["logits", "top_scores", "top_ids", "log_sum_exp"]
    assert [list(map(str, value.shape)) for value in model.graph.outputs[1:]] == [["R", "S", "K"], ["R", "S", "K"], ["R", "S"]]


def test_a_graph_is_given_candidates_once():
    model = logits_graph(CHUNKED)
    assert [candidates.apply(model.graph) for _ in range(2)] == [1, 0]


def test_the_logits_of_a_graph_that_is_no_step_stay():
    model = logits_graph(CHUNKED)
    del model.graph.inputs[1]
    assert candidates.apply(model.graph) == 0


def test_a_graph_without_logits_stays():
    model = logits_graph(CHUNKED, outputs="float[R,S,{words}] states", producer="states = Neg(x)")
    assert candidates.apply(model.graph) == 0
    assert [node.op_type for node in model.graph] == ["Neg"]


@pytest.mark.parametrize(
    ("words", "size"),
    [(4096, 64), (4095, None), (58101, 181), (65536, 256), (2 * 4099, None), (15 * 4099, None), (16 * 4099, 16), (4093, None), (8001, 63)],
)
def test_chunk_size(words, size):
    assert candidates.chunk_size(words) == size
    if size is not None:
        assert words % size == 0
        assert min(size, words // size) >= 16


@pytest.mark.parametrize("words", [PLAIN, CHUNKED, 8001, 17])
@pytest.mark.parametrize("rows", [(1, 1), (3, 1), (2, 4)], ids=str)
@pytest.mark.parametrize("top_k", [1, 2, 8, 17])
def test_the_best_words_and_the_sum(step, words, rows, top_k):
    scores = random(*rows, words)
    top, ids, total, logits = step(scores, top_k)
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :top_k]
    assert np.array_equal(ids, order)
    assert np.array_equal(top, np.take_along_axis(scores, order, axis=-1))
    assert np.array_equal(logits, scores)
    assert total.shape == rows
    assert np.abs(total - np.logaddexp.reduce(scores.astype(np.float64), axis=-1)).max() < TOLERANCE


@pytest.mark.parametrize("top_k", [53, 54, 55, 1000, CHUNKED])
def test_more_words_than_chunks(step, top_k):
    scores = random(2, 1, CHUNKED)
    top, ids, _, _ = step(scores, top_k)
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :top_k]
    assert np.array_equal(top, np.take_along_axis(scores, order, axis=-1))
    assert np.array_equal(np.take_along_axis(scores, ids, axis=-1), top)
    assert all(len(set(row)) == top_k for row in ids.reshape(2, top_k).tolist())


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
def test_the_best_words_may_all_lie_in_one_chunk(step, words):
    scores = random(1, 1, words)
    scores[0, 0, 304:312] = np.arange(100, 108)
    _, ids, _, _ = step(scores, 8)
    assert ids[0, 0].tolist() == list(range(311, 303, -1))


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
def test_first_and_last_word(step, words):
    scores = random(1, 1, words)
    scores[0, 0, [0, -1]] = 99, 98
    _, ids, _, _ = step(scores, 2)
    assert ids[0, 0].tolist() == [0, words - 1]


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
def test_among_equals_the_first_is_the_best(step, words):
    """As torch.argmax, which greedy search takes."""
    scores = random(4, 1, words)
    places = [[3, 4], [5, words - 1], [70, 80, 2000], [0, 75, 76, 77]]
    for row, equal in enumerate(places):
        scores[row, 0, equal] = 50
    _, ids, _, _ = step(scores, 1)
    assert ids[:, 0, 0].tolist() == [min(equal) for equal in places]


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
def test_equals_come_as_different_words(step, words):
    top, ids, total, _ = step(np.zeros((2, 1, words), np.float32), 60)
    assert not top.any()
    assert all(len(set(row)) == 60 for row in ids[:, 0].tolist())
    assert np.abs(total - np.log(words)).max() < TOLERANCE


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
@pytest.mark.parametrize("left", [1, 3, 10])
def test_words_that_are_ruled_out(step, words, left):
    """-inf, as a bias may put it: never before a finite score, and nothing in the sum."""
    scores = np.full((2, 1, words), -np.inf, np.float32)
    scores[:, :, 100 : 100 + 40 * left : 40] = random(2, 1, left)
    top, ids, total, _ = step(scores, 8)
    assert np.isfinite(top).sum(axis=-1).tolist() == [[min(left, 8)], [min(left, 8)]]
    assert np.array_equal(np.take_along_axis(scores, ids, axis=-1), top)
    assert all(len(set(row)) == 8 for row in ids[:, 0].tolist())
    assert np.abs(total - np.logaddexp.reduce(scores.astype(np.float64), axis=-1)).max() < TOLERANCE


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
@pytest.mark.parametrize("offset", [-1e4, 0, 1e4])
def test_scores_far_from_zero_do_not_overflow(step, words, offset):
    scores = random(1, 1, words) + np.float32(offset)
    _, _, total, _ = step(scores, 1)
    assert np.abs(total - np.logaddexp.reduce(scores.astype(np.float64), axis=-1)).max() < max(TOLERANCE, abs(offset) * 2e-7)


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
@pytest.mark.parametrize("place", [0, 77, -1])
def test_scores_that_are_not_numbers_can_be_seen(step, words, place):
    """The runtime looks at the best score and the sum only."""
    scores = random(1, 1, words)
    scores[0, 0, place] = np.nan
    assert np.isnan(step(scores, 4)[2]).all()
    assert np.isnan(step(np.full_like(scores, np.nan), 4)[0][..., 0]).all()


@pytest.mark.parametrize("words", [PLAIN, CHUNKED])
def test_a_sum_that_is_not_wanted_is_empty(step, words):
    scores = random(3, 1, words)
    top, _, total, _ = step(scores, 4, wanted=False)
    assert total.shape == (0, 0)
    assert np.array_equal(top, -np.sort(-scores, axis=-1)[..., :4])


def test_without_chunks_the_candidates_are_the_same(step):
    """For a GPU: one TopK over the whole vocabulary."""
    model = logits_graph(CHUNKED)
    assert candidates.apply_plain(model.graph) == 1
    assert [node.op_type for node in model.graph] == ["Neg", "TopK", "If"]
    plain = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    scores = np.random.default_rng(4).standard_normal((3, 2, CHUNKED)).astype(np.float32)
    feeds = {"x": -scores, "top_k": np.array([5]), "want_log_sum_exp": np.array(True), "past_key_0": np.zeros(0, np.float32)}
    found = plain.run(["top_scores", "top_ids", "log_sum_exp"], feeds)
    for given, expected in zip(found, step(scores, 5), strict=False):
        assert np.allclose(given, expected, atol=TOLERANCE, rtol=0)
