"""A fusion at work on a small graph written as text: the operators before and after, and both graphs ready to run."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxruntime
import pytest

HEADER = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>'
OF_ONNX_RUNTIME = {"SimplifiedLayerNormalization"}  # in ONNX's own domain, but unknown to its checker
SIZES = {"B": (1, 3, 2), "S": (1, 1, 7), "T": (1, 4, 5)}  # batch 1 and length 1; a batch of single steps; all sizes apart


@dataclass(frozen=True)
class Fused:
    """made: how often the fusion says it was made. ops: of the whole graph, in order; a domain other than ONNX's own stands before its name."""

    made: int
    ops: list[str]
    model: ir.Model
    before: onnxruntime.InferenceSession
    after: onnxruntime.InferenceSession

    def run(self, **feeds: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self.before.run(None, feeds), self.after.run(None, feeds)

    def worst(self) -> float:
        """The largest difference between the graphs before and after over all outputs and `SIZES`, on inputs around 1."""
        random = np.random.default_rng(5)
        names = [value.name for value in self.before.get_inputs()]
        assert [value.name for value in self.after.get_inputs()] == names
        assert [value.name for value in self.after.get_outputs()] == [value.name for value in self.before.get_outputs()]
        worst = 0.0
        for case in range(3):
            shapes = {
                value.name: [SIZES[size][case] if isinstance(size, str) else size for size in value.shape] for value in self.before.get_inputs()
            }
            old, new = self.run(**{name: random.standard_normal(shapes[name]).astype(np.float32) for name in names})
            for a, b in zip(old, new, strict=True):
                assert a.shape == b.shape
                assert np.isfinite(a).all()
                worst = max(worst, float(np.abs(a - b).max()))
        return worst


def parse(text: str, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """`text`: a graph in ONNX's own notation, without the header. Shapes that ONNX can infer are filled in."""
    model = onnx.parser.parse_model(f"{HEADER} {text}")
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The graph as it is written: ONNX Runtime's own fusions would hide ours."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # weights that a case does not use are told of as warnings
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def op_names(model: ir.Model) -> list[str]:
    return [f"{node.domain}.{node.op_type}".removeprefix(".").removeprefix("com.") for node in model.graph]


@pytest.fixture
def changed() -> Callable[..., Fused]:
    """changed(change, text, **weights): the graph of `text` before and after `change(model)`."""

    def make(change: Callable[[ir.Model], int], text: str, **weights: np.ndarray) -> Fused:
        proto = parse(text, weights)
        model = ir.from_proto(proto)
        made = change(model)
        passes.RemoveUnusedNodesPass()(model)
        passes.TopologicalSortPass()(model)
        after = ir.to_proto(model)
        if not any(node.op_type in OF_ONNX_RUNTIME for node in model.graph):
            onnx.checker.check_model(after)
        return Fused(made, op_names(model), model, session(proto), session(after))

    return make


@pytest.fixture
def fused(changed: Callable[..., Fused]) -> Callable[..., Fused]:
    """fused(apply, text, **weights): the same for one fusion, with what it left without use gone, as `fuse` does it."""
    return lambda apply, text, **weights: changed(lambda model: apply(model.graph), text, **weights)


@pytest.fixture
def weight() -> Callable[..., np.ndarray]:
    """weight(4, 8): random numbers of that shape, the same in every run."""
    random = np.random.default_rng(3)

    def make(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return make
