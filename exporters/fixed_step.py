"""A decoder's step whose shapes stay the same from word to word, as recording it in a CUDA graph needs: keys and values have places for C words, C > P.

    before:  past_key_i, past_value_i (R,N,P,H) -> MultiHeadAttention(..., past) -> present_key_i, present_value_i (R,N,P+S,H)
    after:   past_key_i, past_value_i (R,N,C,H) -> ScatterElements(at positions) -> present_key_i, present_value_i (R,N,C,H)
                                                   -> MultiHeadAttention(..., bias: no key after the query's own place)

Heads that share keys and values have them repeated in between, of what Concat joins; their bias says already what each may see of the words that there are.

Where the new words stand is not read off the past any more, whose length says nothing now, but told: positions (S), of the new words, and key_positions (C), which are
0 to C-1. Both are inputs, because what is counted off shapes is counted on the CPU and would be copied from there in the middle of the step. `log_sum_exp` is always computed: a
branch cannot be recorded.

ScatterElements writes where its first input lies, if that is where its output is to lie: nothing is copied. ScatterND and GatherND are no choice: their CUDA kernels copy a list from
the CPU each time, and a recording would copy it again from where it no longer is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from zen_edge.exporters.fusions.edit import MICROSOFT, add_initializer, insert
from zen_edge.exporters.lengths import Lengths, Numbers, Run, Sum, lengths
from zen_edge.exporters.quantization.parts import bodies
from zen_edge.manifest import GROW, STEP

WANTED = "want_log_sum_exp"
UNRECORDED = ("ScatterND", "GatherND", "NonZero", "Compress", "Unique", "NonMaxSuppression")  # see above; or outputs as large as their values say
BIAS = 5  # its place among the inputs of MultiHeadAttention
LAYOUT = {"Unsqueeze", "Expand", "Reshape", "Transpose", "Cast", "Identity"}
NEW, KEYS = Sum.of({"S": 1}), Sum.of({"P": 1, "S": 1})
# Inputs that say a size, and are read on the CPU.
SIZES = {"Reshape": (1,), "Expand": (1,), "ConstantOfShape": (0,), "Tile": (1,), "Slice": (1, 2, 3, 4), "Range": (0, 1, 2), "Concat": range(64)}


class NotFixed(Exception):
    """A decoder of which no such step can be made; the reason in words."""


def save_fixed_step(folder: Path) -> str:
    """Write the step beside decoder.onnx, whose weights it reads where they are, and what makes room for twice as many words. Returns why there is none, or ""."""
    model = ir.load(folder / "decoder.onnx")
    try:
        fix(model)
    except NotFixed as error:
        return str(error)
    ir.save(model, folder / STEP)
    ir.save(growing(model.graph), folder / GROW)
    return ""


def growing(step: ir.Graph) -> ir.Model:
    """past_key_i, past_value_i (R,N,C,H) -> moved_key_i, moved_value_i (R,N,2C,H), twice the same: nothing is seen of the second half until it is written over."""
    graph = ir.Graph([], [], nodes=[], name="grow", opset_imports={"": step.opset_imports[""]})
    for value in step.inputs:
        if (value.name or "").startswith("past_") and value.shape is not None:
            given = ir.Value(name=value.name, shape=value.shape, type=value.type)
            node = ir.node("Concat", [given, given], {"axis": 2})
            (output,) = node.outputs
            output.name, output.type = str(value.name).replace("past_", "moved_"), value.type
            output.shape = ir.Shape([*value.shape[:2], "2*C", value.shape[3]])
            graph.inputs.append(given)
            graph.append(node)
            graph.outputs.append(output)
    return ir.Model(graph, ir_version=10)


def fix(model: ir.Model) -> None:
    """Make the step of a decoder, in place. NotFixed, and the graph is then of no use."""
    graph = model.graph
    _Fixing(graph).apply()
    passes.RemoveUnusedNodesPass()(model)
    passes.TopologicalSortPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    for node in graph:
        if node.op_type not in ("Shape", "ScatterElements") and any(
            (value.name or "").startswith("past_") for value in node.inputs if value is not None
        ):
            raise NotFixed(f"{node.op_type} reads past keys or values outside of attention that joins them to the new")
        if node.op_type in UNRECORDED or any(True for _ in bodies(node)):
            raise NotFixed(f"{node.op_type} cannot be recorded")
    _require_counted(graph)
    graph.name = "step"


def _require_counted(graph: ir.Graph) -> None:
    """NotFixed where something still counts what has been said by the length of the past, which is C now."""
    known = lengths(graph)
    for node in graph:
        for value in node.inputs:
            found = known.of(value)
            sums = () if found is None else found.each if isinstance(found, Numbers) else (found.start, found.length)
            if any(one.counts("P") for one in sums) and node.outputs[0] not in known.known:
                raise NotFixed(f"{node.op_type} takes the number of words before, in a way that is not known here")


class _Fixing:
    def __init__(self, graph: ir.Graph) -> None:
        self.graph, self.first = graph, graph[0]
        self.known: Lengths = lengths(graph)
        self.past = {value.name: value for value in graph.inputs if (value.name or "").startswith("past_")}
        if not self.past:
            raise NotFixed("it has no past keys and values")
        self.positions = self._input("positions", "S")
        self.key_positions = self._input("key_positions", "C")
        self.indices: dict[str, ir.Value] = {}
        self.masked: set[ir.Node] = set()
        self.biases: dict[tuple[ir.Value | None, bool], ir.Value] = {}

    def apply(self) -> None:
        for node in list(self.graph):
            if node.op_type == "If":
                self._inline(node)
        for node in list(self.graph):
            if node.op_type == "Slice" and (run := self._sliced(node)) is not None:
                self._look_up(node, run)
            elif node.op_type == "GatherND":
                self._gather(node)
        for node in list(self.graph):
            if node.outputs[0] not in self.known.known or node.op_type == "Concat":
                for place, value in enumerate(node.inputs):
                    self._tell(node, place, value)
        for node in list(self.graph):
            if node.op_type == "MultiHeadAttention" and len(node.inputs) > 7:
                self._attend(node)
            elif node.op_type == "Concat" and self._is_past(node.inputs[0]):
                self._join(node)
        for value in (*self.graph.inputs, *(output for node in self.graph for output in node.outputs)):
            if value.shape is not None:
                sizes = [size if isinstance(size, int) else size.value for size in value.shape]
                value.shape = ir.Shape(["C" if size == "P+S" or (size == "P" and value.name in self.past) else size for size in sizes])

    def _input(self, name: str, size: str) -> ir.Value:
        value = ir.Value(name=name, shape=ir.Shape([size]), type=ir.TensorType(ir.DataType.INT64))
        self.graph.inputs.append(value)
        return value

    def _constant(self, *numbers: int) -> ir.Value:
        return add_initializer(self.graph, f"step.{'x'.join(map(str, numbers))}", np.array(numbers, np.int64))

    def _scalar(self, number: float, dtype: ir.DataType) -> ir.Value:
        return add_initializer(self.graph, f"step.{number!r}.{dtype.name}", np.array(number, dtype.numpy()))

    def _first(self, op: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        """A new node in front of all that were there."""
        return insert(self.first, op, inputs, attributes)[0]

    def _inline(self, node: ir.Node) -> None:
        """The branch that is taken where `log_sum_exp` is wanted."""
        if node.inputs[0] is None or node.inputs[0].name != WANTED:
            raise NotFixed("If cannot be recorded")
        body = node.attributes["then_branch"].as_graph()
        output = body.outputs[0]
        nodes = list(body)
        body.outputs.clear()
        body.remove(nodes)
        self.graph.insert_before(node, nodes)
        old = node.outputs[0]
        output.shape, output.type = old.shape, old.type
        place = list(self.graph.outputs).index(old)
        name, old.name = old.name, None
        self.graph.outputs[place] = output
        output.name = name
        self.graph.remove(node, safe=True)
        self.graph.inputs.remove(next(value for value in self.graph.inputs if value.name == WANTED))

    def _sliced(self, node: ir.Node) -> Run | None:
        """The places of the new words, where a slice takes those of a table."""
        start, end = self.known.one(node.inputs[1]), self.known.one(node.inputs[2])
        if start is None or end is None or start.counts("P") != 1:
            return None
        if len(node.inputs) > 4 and self.known.constants(node.inputs[4]) != [1]:
            return None
        return Run(start, end.plus(start, -1))

    def _look_up(self, node: ir.Node, run: Run) -> None:
        axes = [0] if len(node.inputs) < 4 else self.known.constants(node.inputs[3])
        if axes is None:
            raise NotFixed("Slice takes a part that is not known here")
        old = node.outputs[0]
        (new,) = insert(node, "Gather", [node.inputs[0], self._counted(run)], {"axis": axes[0]})
        new.shape, new.type = old.shape, old.type
        _replace(old, new)
        self.graph.remove(node, safe=True)

    def _gather(self, node: ir.Node) -> None:
        """GatherND of whole rows as Gather."""
        indices, old = node.inputs[1], node.outputs[0]
        one = indices is not None and indices.shape is not None and indices.shape[-1] == 1
        if not one or ("batch_dims" in node.attributes and node.attributes["batch_dims"].as_int()):
            return
        (places,) = insert(node, "Squeeze", [indices, self._constant(-1)])
        (new,) = insert(node, "Gather", [node.inputs[0], places], {"axis": 0})
        new.shape, new.type = old.shape, old.type
        _replace(old, new)
        self.graph.remove(node, safe=True)

    def _tell(self, node: ir.Node, place: int, value: ir.Value | None) -> None:
        """Put in the place of what counts past words what says the same now."""
        found = self.known.of(value)
        assert value is not None or found is None
        if isinstance(found, Run) and (found.start.counts("P") or found.length.counts("P")):
            new = self._counted(found)
        elif isinstance(found, Numbers) and len(found.each) == 1 and found.each[0].counts("P"):
            if place in SIZES.get(node.op_type, ()):
                if found.each[0] != KEYS:
                    raise NotFixed(f"{node.op_type} takes a size that grows with the words before")
                new = self._capacity()
            else:
                new = self._position(found.each[0], Numbers((Sum(),), found.alone))
            new = self._first("Squeeze", new) if found.alone and place in SIZES.get(node.op_type, ()) else new
        else:
            return
        assert value is not None
        if value.dtype == ir.DataType.INT32:
            new = self._first("Cast", new, to=ir.DataType.INT32)
        node.replace_input_with(place, new)

    def _capacity(self) -> ir.Value:
        return self._first("Shape", next(iter(self.past.values())), start=2, end=3)

    def _position(self, form: Sum, like: Numbers) -> ir.Value:
        """The place of the first new word and a number more, as one number."""
        more = form.plus(Sum.of({"P": 1}), -1).constant
        if more is None:
            raise NotFixed("a number is computed from the words before and another size")
        place = self._scalar(0, ir.DataType.INT64) if like.alone else self._constant(0)
        value = self._first("Gather", self.positions, place, axis=0)
        return self._first("Add", value, self._scalar(more, ir.DataType.INT64)) if more else value

    def _counted(self, run: Run) -> ir.Value:
        """The same numbers, from those that are told."""
        more = run.start.plus(Sum.of({"P": 1}), -1).constant
        if run.length == NEW and more is not None:
            value = self._first("Add", self.positions, self._scalar(more, ir.DataType.INT64)) if more else self.positions
        elif run.length == KEYS and run.start == Sum():
            value = self.key_positions
        else:
            raise NotFixed("numbers are counted from the words before in a way that is not known here")
        axes = [axis for axis in range(run.rank) if axis != run.axis]
        return self._first("Unsqueeze", value, self._constant(*axes)) if axes else value

    def _attend(self, node: ir.Node) -> None:
        query, keys, values, bias_of_inputs, padding, bias, *past = node.inputs[:8]
        if keys is None or values is None or len(past) != 2 or bias_of_inputs is not None or padding is not None or len(node.inputs) > 8:
            raise NotFixed("attention with past keys and values has a mask of its own")
        causal = "unidirectional" in node.attributes and bool(node.attributes["unidirectional"].as_int())
        attributes = {name: attribute for name, attribute in node.attributes.items() if name != "unidirectional"}
        written = [self._written(node, old, new) for old, new in zip(past, (keys, values), strict=True)]
        present = [seen for _, seen in written]
        after = ir.Node(
            MICROSOFT, "MultiHeadAttention", [query, *present, None, None, self._bias(node, bias, causal)], attributes.values(), num_outputs=1
        )
        self.graph.insert_before(node, after)
        for old, new in zip(node.outputs, (*after.outputs, *present), strict=True):
            new.type = old.type
            new.shape = old.shape if new in after.outputs else new.shape
            _replace(old, new)
        self.graph.remove(node, safe=True)
        for kept, seen in written:
            _keep(kept, seen)

    def _join(self, node: ir.Node) -> None:
        """Keys or values that are joined before they are repeated for the heads that share them; nothing is seen of places after the last new word's."""
        if len(node.inputs) != 2 or node.attributes["axis"].as_int() not in (2, -2) or node.inputs[1] is None:
            raise NotFixed("Concat joins past keys or values in a way that is not known here")
        kept, seen = self._scattered(node, node.inputs[0], node.inputs[1])
        readers = list(_attention(node.outputs[0]))
        _replace(node.outputs[0], seen)
        self.graph.remove(node, safe=True)
        _keep(kept, seen)
        for reader in readers:
            if reader not in self.masked:
                bias = reader.inputs[BIAS] if len(reader.inputs) > BIAS else None
                if len(reader.inputs) > BIAS + 1 or bias is None or "unidirectional" in reader.attributes:
                    raise NotFixed("heads that share keys have no bias that says what they see")
                reader.replace_input_with(BIAS, self._bias(reader, bias, causal=False))
                self.masked.add(reader)

    def _is_past(self, value: ir.Value | None) -> bool:
        return value is not None and self._kept(value).name in self.past

    def _kept(self, value: ir.Value) -> ir.Value:
        """The input of the graph that `value` is, which may be single where it is kept in half."""
        maker = value.producer()
        found = maker.inputs[0] if maker is not None and maker.op_type == "Cast" else value
        return value if found is None else found

    def _written(self, node: ir.Node, past: ir.Value | None, new: ir.Value) -> tuple[ir.Value, ir.Value]:
        """new (R,S,D), as `_scattered`."""
        kept = None if past is None else self._kept(past)
        if past is None or kept is None or kept.name not in self.past or kept.shape is None:
            raise NotFixed("attention reads past keys or values that are computed")
        heads, size = int(kept.shape[1]), int(kept.shape[3])
        (split,) = insert(node, "Reshape", [new, self._constant(0, 0, heads, size)])
        (by_head,) = insert(node, "Transpose", [split], {"perm": [0, 2, 1, 3]})
        for value, shaped in ((split, ("R", "S", heads, size)), (by_head, ("R", heads, "S", size))):
            value.shape, value.type = ir.Shape(shaped), new.type
        return self._scattered(node, past, by_head)

    def _scattered(self, node: ir.Node, single: ir.Value, by_head: ir.Value) -> tuple[ir.Value, ir.Value]:
        """by_head (R,N,S,H) at its places in past (R,N,C,H), in the type that it is kept in, and in that of the attention, which may be single where all around it is half."""
        past = self._kept(single)
        assert past.shape is not None
        heads, size = int(past.shape[1]), int(past.shape[3])
        key = f"{heads}x{size}"
        if key not in self.indices:
            (shape,) = insert(node, "Shape", [by_head])
            (column,) = insert(node, "Unsqueeze", [self.positions, self._constant(0, 1, 3)])
            (self.indices[key],) = insert(node, "Expand", [column, shape])
        if past is not single:
            (by_head,) = insert(node, "Cast", [by_head], {"to": past.dtype})
        (present,) = insert(node, "ScatterElements", [past, self.indices[key], by_head], {"axis": 2})
        present.shape, present.type = ir.Shape(["R", heads, "C", size]), past.type
        if past is single:
            return present, present
        (seen,) = insert(node, "Cast", [present], {"to": single.dtype})
        seen.shape, seen.type = present.shape, single.type
        return present, seen

    def _bias(self, node: ir.Node, bias: ir.Value | None, causal: bool) -> ir.Value:
        """(1,1|N,S,C), what is added to the scores: nothing is seen of places after the query's own or, where it may look ahead, the last new word's."""
        if (bias, causal) not in self.biases:
            dtype = node.inputs[0].dtype if node.inputs[0] is not None else None
            if dtype is None:
                raise NotFixed("attention is of a type that is not known")
            last = self.positions if causal else insert(node, "Gather", [self.positions, self._constant(-1)], {"axis": 0})[0]
            (queries,) = insert(node, "Unsqueeze", [last, self._constant(0, 1, 3)])
            (keys,) = insert(node, "Unsqueeze", [self.key_positions, self._constant(0, 1, 2)])
            (seen,) = insert(node, "LessOrEqual", [keys, queries])
            added = self._scalar(0.0, dtype) if bias is None else bias
            (out,) = insert(node, "Where", [seen, added, self._scalar(float(np.finfo(dtype.numpy()).min), dtype)])
            if not causal and bias is None:
                (shape,) = insert(node, "Concat", [self._constant(1, 1), insert(node, "Shape", [self.positions])[0], self._constant(1)], {"axis": 0})
                (out,) = insert(node, "Expand", [out, shape])
            out.type = ir.TensorType(dtype)
            self.biases[bias, causal] = out
        return self.biases[bias, causal]


def _attention(value: ir.Value) -> Iterator[ir.Node]:
    """What attends to keys that are `value` laid out in another way."""
    for use in value.uses():
        if use.node.op_type == "MultiHeadAttention":
            yield use.node
        elif use.node.op_type in LAYOUT:
            yield from _attention(use.node.outputs[0])


def _keep(kept: ir.Value, seen: ir.Value) -> None:
    """Where `seen` is made what it is kept in again, that."""
    for use in list(seen.uses()):
        if use.node.op_type == "Cast" and use.node.outputs[0].dtype == kept.dtype:
            _replace(use.node.outputs[0], kept)


def _replace(old: ir.Value, new: ir.Value) -> None:
    """`new` wherever `old` stood, under its name where the graph returns it."""
    if old.is_graph_output():
        name, old.name = old.name, None
        new.name = name
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
