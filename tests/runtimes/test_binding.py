"""The path that a GPU takes, with the CPU for the device: the same tokens, and nothing copied that is not read."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from zen_edge.errors import OptionError
from zen_edge.manifest import read_manifest
from zen_edge.runtimes import load
from zen_edge.runtimes.binding import Binding, require_fixed_shapes
from zen_edge.runtimes.providers import PROVIDERS
from zen_edge.runtimes.session import Session

CPU = PROVIDERS[-1]
LINES = ["simple game with cards for two players", "library of tools for sound", "a text editor"]
SEARCHES = (
    {"num_beams": 1},
    {"num_beams": 4, "num_return_sequences": 2},
    {"do_sample": True, "seed": 3, "top_k": 20},
    {"num_beams": 1, "prompt_lookup_num_tokens": 4},
    {"num_beams": 3, "repetition_penalty": 1.3},  # reads the scores of all words
)


@pytest.mark.parametrize("options", SEARCHES, ids=str)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tokens_are_those_of_the_default_path(request, load_bound, precision, options):
    bundle = request.getfixturevalue(f"demo_{precision}")
    with load(bundle, device="cpu", threads=1) as plain, load_bound(bundle) as bound:
        for lines in (LINES, LINES[:1]):
            expected = [[(one.tokens, one.score) for one in results] for results in plain.generate(lines, **options)]
            assert [[(one.tokens, one.score) for one in results] for results in bound.generate(lines, **options)] == expected
    assert len({token for results in expected for tokens, _ in results for token in tokens}) >= 4


def test_only_ids_and_their_scores_come_to_the_cpu(demo_fp32, load_bound, monkeypatch):
    copied, kept, run = set(), set(), Binding.run

    def watched(self, feeds, outputs, on_device, shapes=None):
        copied.update(name for name in outputs if name not in on_device)
        kept.update(name for name in outputs if name in on_device)
        return run(self, feeds, outputs, on_device, shapes)

    monkeypatch.setattr(Binding, "run", watched)
    with load_bound(demo_fp32) as pipeline:
        assert pipeline(LINES, num_beams=4) == load(demo_fp32, threads=1)(LINES, num_beams=4)
    assert copied == {"top_scores", "top_ids", "log_sum_exp"}
    assert {"logits", "cross_key_0", "present_value_1", "moved_key_0"} <= kept


@pytest.mark.parametrize("options", SEARCHES[:2], ids=str)
def test_a_step_allocates_nothing(demo_fp32, load_bound, monkeypatch, options):
    """But where a power of two is passed, and the first time alone; the cache of an earlier step is as it was."""
    made, place = [], Session._place

    def watched(self, shape, dtype):
        made.extend(shape if dtype is np.uint8 else ())
        return place(self, shape, dtype)

    monkeypatch.setattr(Session, "_place", watched)
    with load_bound(demo_fp32) as pipeline:
        once = pipeline(LINES, **options)
        needed, made[:] = set(made), []
        assert len(needed) > 1 and all(size & (size - 1) == 0 for size in needed)
        assert pipeline(LINES, **options) == once
        assert made == []
        model, ids = pipeline._model, np.array([[3], [4]])
        _, held = model.step(ids, model.encode(np.array([[5, 6], [7, 0]]), np.array([[1, 1], [1, 0]])), top_k=2, log_sum_exp=True)
        (first, after), *_ = [model.step(ids, held, top_k=2, log_sum_exp=True) for _ in range(3)]
        again, _ = model.step(ids, after, top_k=2, log_sum_exp=True)
        assert np.array_equal(model.step(ids, held, top_k=2, log_sum_exp=True)[0].top_scores, first.top_scores)
        assert np.array_equal(model.step(ids, after, top_k=2, log_sum_exp=True)[0].top_scores, again.top_scores)


FIXED = """<ir_version: 10, opset_import: ["" : 21]> g (float[3,4] x, int64[1] n) => (float[3,4] y, int64[1] m) { y = Add(x, x) m = Add(n, n) }"""


def test_replayed_runs_are_told_apart(tmp_path):
    """As a recorded CUDA graph runs: always in the same places. An answer stays as it was when the next one comes."""
    onnx.save(onnx.parser.parse_model(FIXED), tmp_path / "g.onnx")
    session = Session(tmp_path / "g.onnx", replace(CPU, cuda_graphs=True), 1)
    x, n = np.arange(12, dtype=np.float32).reshape(3, 4), np.array([5])
    first = session.run({"x": x, "n": n}, ["m", "y"])
    second = session.run({"x": x + 1, "n": n + 1}, ["y"], frozenset(("y",)))
    assert np.array_equal(first["y"].numpy(), 2 * x)
    assert first["m"].numpy() == [10]
    assert np.array_equal(second["y"].numpy(), 2 * x + 2)


FREE = """<ir_version: 10, opset_import: ["" : 21]> g (float[R,4] x) => (float[R,4] y) { y = Add(x, x) }"""


def test_runs_are_recorded_the_second_time_and_not_without_end(tmp_path, monkeypatch):
    """Under a number of their own; what comes once is not recorded, and what is run otherwise is not either."""
    numbers, options = [], Session._options
    monkeypatch.setattr(Session, "_options", lambda self, number: numbers.append(number) or options(self, number))
    monkeypatch.setattr("zen_edge.runtimes.session.MOST_RECORDED", 2)
    onnx.save(onnx.parser.parse_model(FREE), tmp_path / "g.onnx")
    session = Session(tmp_path / "g.onnx", replace(CPU, binds=True, cuda_graphs=True), 1)
    assert np.array_equal(session.run({"x": np.ones((2, 4), np.float32)}, ["y"])["y"].numpy(), np.full((2, 4), 2))
    for rows, again in ((1, True), (2, False), (3, True), (4, True)):
        x, y = (session.place_like(name, (rows, 4)) for name in ("x", "y"))
        run = session.record({"x": x}, {"y": y}, again=again)
        for value in range(3):
            x.update_inplace(np.full((rows, 4), value, np.float32))
            run()
            assert np.array_equal(y.numpy(), np.full((rows, 4), 2 * value))
    assert numbers == [-1, -1, 1, -1, -1, 2, -1]


def test_why_a_step_cannot_be_replayed(demo_fp32):
    graphs = {graph.name: graph for graph in read_manifest(demo_fp32).graphs}
    with pytest.raises(OptionError, match=r"the encoder has input_ids \[\w+, \w+\], attention_mask .* and \d+ more; leave cuda_graphs out"):
        require_fixed_shapes(graphs.values())
    with pytest.raises(OptionError, match=r"the decoder has .*: keys and values grow with every word"):
        require_fixed_shapes([graphs["decoder"]])
    with pytest.raises(OptionError, match="CUDA graphs are of CUDAExecutionProvider, and this would run on CPUExecutionProvider"):
        load(demo_fp32, device="cpu", cuda_graphs=True)
