"""Which part of a model a weight belongs to, and precisions mixed by part."""

from collections import Counter

import onnx_ir as ir
import pytest

from zen_edge.exporters.quantization import quantize
from zen_edge.exporters.quantization.parts import parts
from zen_edge.recipe import Recipe


def load(bundle, name: str) -> ir.Model:
    return ir.load(bundle / f"{name}.onnx")


def test_the_parts_of_a_translator(demo_fp32):
    """Three encoder layers and two of a decoder, where queries, keys and values are one product."""
    found = Counter((part.group, part.layer) for part in parts(load(demo_fp32, "encoder").graph))
    layers = {("encoder", layer): 6 for layer in range(3)} | {("cross-attention", layer): 2 for layer in range(2)}  # keys and values of the decoder's
    assert found == {("embeddings", None): 1, **layers}
    found = Counter((part.group, part.layer) for part in parts(load(demo_fp32, "decoder").graph))
    layers = {(group, layer): 2 for group in ("self-attention", "cross-attention", "feed-forward") for layer in (0, 1)}
    assert found == {("embeddings", None): 2, **layers}


OPERATORS = {"fp32": "MatMul", "int8": "MatMulIntegerToFloat", "int8-blocks": "MatMulNBits", "int4": "MatMulNBits"}


@pytest.mark.parametrize("group", ["self-attention", "cross-attention", "feed-forward"])
def test_a_recipe_gives_each_part_its_precision(demo_fp32, group):
    model = load(demo_fp32, "decoder")
    recipe = Recipe.uniform("fp32").changed(group, "int8").changed(f"{group}.1", "int4")
    assert quantize(model, recipe) == 4
    ops = Counter(node.op_type for node in model.graph)
    assert (ops["MatMulIntegerToFloat"], ops["MatMulNBits"], ops["FusedMatMul"]) == (2, 2, 1)
    bits = [node.attributes.get_int("bits") for node in model.graph if node.op_type == "MatMulNBits"]
    assert bits == [4, 4]


def test_everything_of_a_graph_without_a_decoder_is_its_encoder():
    text = """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> g (float[B,S,64] x) => (float[B,S,64] y, float[B,S,32] scores)
        <float[64,64] A, float[64,64] C, float[64,32] H> {
        q = MatMul(x, A)  k = MatMul(x, C)  a = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, k)
        y = MatMul(a, A)  z = Relu(y)  p = MatMul(z, H)  scores = Tanh(p) }"""
    import numpy as np
    import onnx

    proto = onnx.parser.parse_model(text)
    for name, shape in (("A", (64, 64)), ("C", (64, 64)), ("H", (64, 32))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    found = [(part.group, part.layer) for part in parts(ir.from_proto(proto).graph)]
    assert found == [("encoder", 0), ("encoder", 0), ("encoder", 0), ("embeddings", None)]
