"""Ask for the same sizes once.

    before:  Shape(cross_key_0)[0:1], Shape(cross_key_1)[0:1], ... each (B,)
    after:   one Shape for all of them

Values of different layers have the same symbolic sizes; equal Shape nodes then let common subexpressions below them fall together.
"""

from __future__ import annotations

import onnx_ir as ir


def key(node: ir.Node) -> tuple[object, ...] | None:
    """The sizes a Shape node gives, by number or symbol; None if one is unknown."""
    source = node.inputs[0]
    if source is None or source.shape is None:
        return None
    start = node.attributes.get_int("start", 0)
    end = node.attributes.get_int("end", len(source.shape))
    sizes = tuple(size if isinstance(size, int) else size.value for size in source.shape[start:end])
    return None if any(size is None for size in sizes) else sizes


def apply(graph: ir.Graph) -> int:
    first: dict[tuple[object, ...], ir.Node] = {}
    made = 0
    for node in list(graph):
        if node.op_type != "Shape" or node.domain or node.outputs[0].is_graph_output():
            continue
        sizes = key(node)
        if sizes is None:
            continue
        if sizes in first:
            ir.convenience.replace_all_uses_with(node.outputs[0], first[sizes].outputs[0])
            graph.remove(node, safe=True)
            made += 1
        else:
            first[sizes] = node
    return made
