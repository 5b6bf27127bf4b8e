"""Which nodes of a graph are attention: fused in one operator, or spelt out as MatMul, Softmax, MatMul."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from zen_edge.graphs import FlatGraph, Node

FUSED = {
    "": {"Attention"},
    "com.microsoft": {
        "MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "PackedMultiHeadAttention",
        "Attention", "PackedAttention", "QAttention", "SparseAttention", "PagedAttention", "LongformerAttention",
    },
}  # fmt: skip

SOFTMAX = {"Softmax", "BiasSoftmax"}
# Products of two matrices, and where those stand among the inputs.
PRODUCT = {**dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "Einsum", "MatMulInteger", "MatMulIntegerToFloat"), (0, 1)), "QLinearMatMul": (0, 3)}
SHAPE = {"Cast", "CastLike", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Expand", "Identity", "Flatten", "Slice", "Dropout"}
QUANTIZE = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
# Between the scores and the softmax: scale, mask, bias, cap, sinks. Between the softmax and the values: dropout, cleaned rows, cut sinks.
BEFORE = SHAPE | QUANTIZE | {"Mul", "Div", "Add", "Sub", "Neg", "Where", "Clip", "Tanh", "Max", "Min", "Concat", "Sum"}
AFTER = SHAPE | QUANTIZE | {"Mul", "Div", "Where", "Split", "Concat"}


def fused(node: Node) -> bool:
    return not node.links and node.op in FUSED.get(node.domain, ())


def count_fused(graph: FlatGraph) -> int:
    """Attention layers in one operator. Of the branches of an If, of which one runs, the one with the most counts."""
    counts = Counter(node.branch for node in graph.nodes if fused(node))
    most: dict[int, int] = {}
    for branch, count in counts.items():
        if branch is not None:
            most[branch[0]] = max(count, most.get(branch[0], 0))
    return counts[None] + sum(most.values())


def unfused(graph: FlatGraph) -> list[Node]:
    """The softmaxes whose scores are a product of two activations, and that weigh the rows of another; not those of an If that has the operator in another branch, for other sizes."""
    makers: dict[str, list[Node]] = defaultdict(list)  # several for the output of an If
    users: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.outputs:
            makers[name].append(node)
        for name in node.inputs:
            users[name].append(node)

    def weight(name: str, depth: int = 0) -> bool:
        """A matrix out of the file: a projection's, and so neither queries, keys nor values. Learned queries have more dimensions."""
        if name in graph.weights:
            return graph.weights[name] <= 2
        return depth < 8 and any(node.op in SHAPE | QUANTIZE and node.inputs and weight(node.inputs[0], depth + 1) for node in makers.get(name, ()))

    def product(node: Node) -> bool:
        places = PRODUCT.get(node.op, ())
        return bool(places) and all(i < len(node.inputs) and not weight(node.inputs[i]) for i in places)

    def reaches(starts: Iterable[str], step: Callable[[str], list[Node]], onward: Callable[[Node], Iterable[str]], through: set[str]) -> bool:
        waiting, seen = [name for name in starts if name], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in step(name):
                if product(node):
                    return True
                if node.op in through:
                    waiting.extend(value for value in onward(node) if value)
        return False

    either = {node.branch[0] for node in graph.nodes if fused(node) and node.branch is not None}
    return [
        node
        for node in graph.nodes
        if node.op in SOFTMAX
        and (node.branch is None or node.branch[0] not in either)
        and reaches(node.inputs[:1], lambda name: makers.get(name, []), lambda node: node.inputs, BEFORE)
        and reaches(node.outputs[:1], lambda name: users.get(name, []), lambda node: node.outputs, AFTER)
    ]
