"""What a decoder's step computes of its memory alone, computed once by the encoder.

    before:  encoder: -> cross_memory                  step: cross_memory -> MatMul(W_k) -> Add -> keys ...
    after:   encoder: -> cross_memory -> MatMul(W_k) -> Add -> cross_memory.1      step: cross_memory.1 ...

Attention as it is written in a step projects the whole source again for every word. A value moves if it is made of memory by a product with weights, of anything else only
constants, and if its rows are still one axis.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as passes

from zen_edge.exporters.fusions.edit import add_initializer, constant
from zen_edge.exporters.quantization.products import Product

MEMORY, ROWS, TEXTS = "cross_", "R", "B"


def compute_once(encoder: ir.Model, decoder: ir.Model) -> int:
    """Moves them in place. Returns how many values the step takes that it computed before."""
    step, texts = decoder.graph, encoder.graph
    memory = [value for value in step.inputs if (value.name or "").startswith(MEMORY)]
    fixed, heavy = set(memory), set[ir.Value]()
    for node in step:
        given = [value for value in node.inputs if value is not None and constant(value) is None]
        if given and fixed.issuperset(given) and all(_keeps_rows(value) for value in node.outputs):
            fixed.update(node.outputs)
            if Product.of(node) is not None or heavy.intersection(given):
                heavy.update(node.outputs)
    wanted = [value for node in step for value in node.outputs if value in heavy and _used_outside(value, fixed)]
    made: dict[ir.Value, ir.Value] = {one: other for one in memory for other in texts.outputs if one.name == other.name}
    for i, value in enumerate(wanted, 1):
        once = _copied(texts, value, made)
        once.name, once.shape, once.type = f"{MEMORY}once_{i}", _of_texts(value), value.type
        texts.outputs.append(once)
        taken = ir.Value(name=once.name, shape=value.shape, type=value.type)
        step.inputs.append(taken)
        ir.convenience.replace_all_uses_with(value, taken)
    passes.RemoveUnusedNodesPass()(decoder)
    for value in [value for value in memory if not value.uses()]:
        step.inputs.remove(value)
        texts.outputs.remove(made[value])
    return len(wanted)


def _keeps_rows(value: ir.Value) -> bool:
    """Whether a value is of numbers, and one of its axes is the rows."""
    if value.dtype != ir.DataType.FLOAT or value.shape is None:
        return False
    names = [size if isinstance(size, int) else str(size.value) for size in value.shape]
    return names.count(ROWS) == 1 and all(isinstance(name, int) or name in (ROWS, "T") for name in names)


def _used_outside(value: ir.Value, fixed: set[ir.Value]) -> bool:
    return value.is_graph_output() or any(not fixed.issuperset(use.node.outputs) for use in value.uses())


def _copied(graph: ir.Graph, value: ir.Value, made: dict[ir.Value, ir.Value]) -> ir.Value:
    """What makes `value`, at the end of `graph`. made: what stands there already, added to."""
    if value in made:
        return made[value]
    tensor, node = constant(value), value.producer()
    if tensor is not None:
        made[value] = add_initializer(graph, f"step.{value.name}", tensor)
        return made[value]
    assert node is not None
    inputs = [None if one is None else _copied(graph, one, made) for one in node.inputs]
    copy = ir.Node(node.domain, node.op_type, inputs, list(node.attributes.values()), num_outputs=len(node.outputs))
    graph.append(copy)
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.name, new.type, new.shape = f"step.{old.name}", old.type, _of_texts(old)
        made[old] = new
    return made[value]


def _of_texts(value: ir.Value) -> ir.Shape:
    assert value.shape is not None
    return ir.Shape([size if isinstance(size, int) else TEXTS if size.value == ROWS else size.value for size in value.shape])
