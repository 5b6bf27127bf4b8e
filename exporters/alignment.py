"""What the times of words are made from: the queries of the cross-attention layers that follow the audio (`alignment_heads`), as outputs of the decoder.

    before:  ... -> query, cross_key_i, cross_value_i -> MultiHeadAttention -> ...
    after:   the same;  cross_query_i (B,R/B*S,D), such that softmax(cross_query_i cross_key_i^T) are the attention's weights

They exist anyway, so that attention stays fused and nothing is paid for them until they are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from zen_edge.exporters.fusions.edit import add_initializer, insert


def expose_queries(decoder: ir.Model, generation_config: Any) -> int:
    """Adds the outputs to a fused decoder graph, in place, for every layer with an alignment head. Returns how many."""
    layers = sorted({int(layer) for layer, _ in getattr(generation_config, "alignment_heads", None) or ()})
    return sum(_expose(decoder.graph, layer) for layer in layers)


def _expose(graph: ir.Graph, layer: int) -> bool:
    key = next((value for value in graph.inputs if value.name == f"cross_key_{layer}"), None)
    if key is None:
        return False
    attention = next((node for node, place in key.uses() if node.op_type == "MultiHeadAttention" and place == 1), None)  # it may be in a branch
    if attention is None:
        return False
    query = attention.inputs[0]
    assert query is not None and key.shape is not None
    _, heads, _, head_size = key.shape
    scale = attention.attributes.get_float("scale", head_size**-0.5)
    output = query
    if scale != 1:
        (output,) = insert(attention, "Mul", [query, add_initializer(graph, f"cross_query_scale_{layer}", np.array(scale, np.float32))])
    output.name, output.type = f"cross_query_{layer}", ir.TensorType(ir.DataType.FLOAT)
    output.shape = ir.Shape(["B", "S'", heads * head_size])
    graph.outputs.append(output)
    return True
