"""What is in a bundle or an .onnx file: sizes, operators, attention fused or not, and what a device has no kernel for."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge import attention, graphs
from zen_edge.checked import printable
from zen_edge.errors import OptionError
from zen_edge.manifest import DEVICES, Graph, NodeKind, Tensor, read_manifest

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Kernels:
    """The dtypes an operator has kernels for, by device. Operators without a row are ONNX's ordinary ones and taken as supported."""

    op: str
    cpu: tuple[str, ...]
    cuda: tuple[str, ...]


F32, F16, BF16, F64 = "float32", "float16", "bfloat16", "float64"
MS = "com.microsoft::"
# cpu: as ONNX Runtime 1.32 lists its kernels. cuda: as its documentation lists them.
KERNELS = {
    row.op: row
    for row in (
        Kernels(MS + "MultiHeadAttention", (F32,), (F32, F16, BF16)),
        Kernels(MS + "DecoderMaskedMultiHeadAttention", (F32,), (F32, F16)),
        Kernels(MS + "GroupQueryAttention", (F32, F16), (F16, BF16)),
        Kernels(MS + "PackedMultiHeadAttention", (), (F32, F16)),
        Kernels(MS + "RelativePositionBias", (), (F32, F16)),
        Kernels("Attention", (F32, F16), (F32, F16, BF16)),
        Kernels("TensorScatter", (F32, F16, BF16, F64), (F32, F16, BF16)),
        Kernels(MS + "MatMulNBits", (F32, F16), (F32, F16, BF16)),
        Kernels(MS + "GatherBlockQuantized", (F32, F16), (F32, F16, BF16)),
        Kernels(MS + "DynamicQuantizeMatMul", (F32,), ()),
        Kernels(MS + "MatMulIntegerToFloat", (F32,), ()),
        Kernels(MS + "SkipLayerNormalization", (F32, F16, BF16, F64), (F32, F16)),
        Kernels(MS + "BiasGelu", (F32,), (F32, F16)),
        Kernels(MS + "FastGelu", (F32,), (F32, F16)),
        Kernels(MS + "QuickGelu", (F32,), (F32, F16)),
        Kernels(MS + "NGramRepeatBlock", (F32,), (F32, F16)),
    )
}


def supported(node: NodeKind, device: str) -> bool:
    row = KERNELS.get(node.op)
    if row is None:
        return True
    dtypes = row.cuda if device == "cuda" else row.cpu
    floats = [dtype for dtype in node.inputs if dtype in graphs.FLOATS]
    return bool(dtypes) and (not floats or floats[0] in dtypes)


def describe_graph(path: Path, name: str) -> Graph:
    """The manifest's entry for an .onnx file. BundleError for a file that is not one, MissingDependencyError without onnx."""
    model = graphs.load(path)
    flat, held = graphs.flatten(model), graphs.stored(model, path)
    unfused = attention.unfused(flat)
    running = [node for node in flat.nodes if not node.links]
    held_by_file = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        name=name,
        file=path.name,
        size=held.size,
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in held_by_file),
        outputs=tuple(map(_tensor, model.graph.output)),
        parameters=held.parameters,
        ops=dict(sorted(Counter(node.op for node in running).items())),
        fused_attention=attention.count_fused(flat),
        unfused_attention=len(unfused),
        nodes=_node_kinds(running, flat.dtypes),
        unfused_reasons=tuple(printable(node.reason)[:512] for node in unfused if node.reason),
    )


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return Tensor(value.name, "unknown", ("...",))
    shape = tuple(size.dim_param or "?" if not size.HasField("dim_value") else size.dim_value for size in kind.shape.dim)
    return Tensor(value.name, graphs.dtype_name(kind.elem_type), shape if kind.HasField("shape") else ("...",))


def _node_kinds(nodes: list[graphs.Node], dtypes: dict[str, str]) -> tuple[NodeKind, ...]:
    def words(values: tuple[str, ...]) -> tuple[str, ...]:
        found = [dtypes.get(value, "unknown") if value else "" for value in values]
        while found and not found[-1]:
            found.pop()
        return tuple(found)

    def kind(node: graphs.Node) -> tuple[str, int, tuple[str, ...], tuple[str, ...]]:
        definition = graphs.schema(node)
        since = definition.since_version if definition else node.version
        return (f"{node.domain}::{node.op}" if node.domain else node.op, since, words(node.inputs), words(node.outputs))

    return tuple(NodeKind(*what, count) for what, count in sorted(Counter(map(kind, nodes)).items()))


def inspect_bundle(folder: Path, device: str = "cpu") -> dict[str, Any]:
    """The values of `zen-edge inspect --json`. Reads the manifest alone; BundleError as `read_manifest`, OptionError for an unknown device."""
    _known(device)
    manifest = read_manifest(folder)
    return {"task": manifest.task, "precision": manifest.precision, "graphs": [_summary(graph, device) for graph in manifest.graphs]}


def inspect_graph(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The same for one .onnx file, whose task and precision nothing tells."""
    _known(device)
    return {"task": None, "precision": None, "graphs": [_summary(describe_graph(path, path.stem), device)]}


def _known(device: str) -> None:
    if device not in DEVICES:
        raise OptionError(f"no device {device!r}: choose one of {', '.join(DEVICES)}")


def _summary(graph: Graph, device: str) -> dict[str, Any]:
    fallback: Counter[str] = Counter()
    for node in graph.nodes:
        if not supported(node, device):
            fallback[node.op.rpartition("::")[2]] += node.count
    total = sum(node.count for node in graph.nodes)
    return {
        "name": graph.name,
        "file": graph.file,
        "bytes": graph.size,
        "parameters": graph.parameters,
        "ops": graph.ops,
        "fused_attention": graph.fused_attention,
        "unfused_attention": graph.unfused_attention,
        "on_device": {"supported": total - fallback.total(), "fallback": dict(sorted(fallback.items()))},
        **({"unfused_reasons": list(graph.unfused_reasons)} if graph.unfused_reasons else {}),
    }


def print_inspection(inspected: dict[str, Any], console: "Console") -> None:
    """Two tables: the graphs, and their operators."""
    from rich.table import Table
    from rich.text import Text

    def cells(*values: object) -> list[Text]:
        return [Text(printable(str(value))) for value in values]

    rows = inspected["graphs"]
    title = " ".join(str(inspected[key]) for key in ("task", "precision") if inspected[key])
    table = Table("graph", "file", title=cells(title)[0] if title else None)
    for heading in ("MB", "parameters", "fused attention", "unfused attention", "nodes on device", "elsewhere"):
        table.add_column(heading, justify="right")
    operators = Table("operator")
    for row in rows:
        elsewhere = ", ".join(f"{count} {op}" for op, count in row["on_device"]["fallback"].items()) or "none"
        sizes = (f"{row['bytes'] / 1e6:.1f}", f"{row['parameters']:,}", row["fused_attention"], row["unfused_attention"])
        table.add_row(*cells(row["name"], row["file"], *sizes, row["on_device"]["supported"], elsewhere))
        operators.add_column(cells(row["name"])[0], justify="right")
    totals = sum((Counter(row["ops"]) for row in rows), Counter[str]())
    for op in sorted(totals, key=lambda op: (-totals[op], op)):
        operators.add_row(*cells(op, *(row["ops"].get(op, "") for row in rows)))
    console.print(table)
    for row in rows:
        for reason in row.get("unfused_reasons", ()):
            console.print(*cells(f"unfused in {row['name']}: {reason}"))
    console.print(operators)
