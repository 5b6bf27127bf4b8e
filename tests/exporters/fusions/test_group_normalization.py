import numpy as np
import pytest

from zen_edge.exporters.fusions import group_normalization

TEXT = "g (float[B,8,T] x) => (float[B,8,T] y) { h = Relu(x)  y = GroupNormalization<num_groups=G, epsilon=0.01>(h, gain, bias) }"
TOLERANCE = 1e-5


@pytest.mark.parametrize(
    ("groups", "ops"),
    [
        (8, ["Relu", "InstanceNormalization"]),
        (2, ["Relu", "Shape", "Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]),
        (1, ["Relu", "Shape", "Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]),
    ],
)
def test_groups_become_channels(fused, weight, groups, ops):
    made = fused(group_normalization.apply, TEXT.replace("=G", f"={groups}"), gain=weight(8), bias=weight(8))
    assert (made.made, made.ops) == (1, ops)
    assert made.worst() < TOLERANCE


def test_of_images_and_with_a_computed_gain(fused, weight):
    text = """g (float[B,8,T,3] x, float[8] c) => (float[B,8,T,3] y) {
        gain = Neg(c)  y = GroupNormalization<num_groups=4>(x, gain, bias) }"""
    made = fused(group_normalization.apply, text, bias=weight(8))
    assert made.made == 1 and made.ops.count("Reshape") == 3
    assert made.worst() < TOLERANCE


def test_one_that_sums_in_half_precision_stays(fused):
    text = TEXT.replace("=G", "=2, stash_type=10")
    ones = np.ones(8, np.float32)
    assert group_normalization.check(next(node for node in _graph(text, ones) if node.op_type == "GroupNormalization")) is None


def _graph(text, ones):
    import onnx
    import onnx_ir as ir

    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(ones, name) for name in ("gain", "bias"))
    return ir.from_proto(onnx.shape_inference.infer_shapes(model)).graph
