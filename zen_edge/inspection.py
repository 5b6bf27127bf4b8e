"""What is in a bundle or an .onnx file: sizes, operators, attention fused or not, and what a device has no kernel for."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge import attention, graphs
from zen_edge.checked import printable
from zen_edge.errors import OptionError
from zen_edge.kernels import missing
from zen_edge.manifest import DEVICES, GROW, STEP, Graph, NodeKind, Tensor, read_manifest

if TYPE_CHECKING:
    from rich.console import Console

MEASURES = {"Shape", "Size"}


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
        nodes=_node_kinds(flat),
        unfused_reasons=tuple(printable(node.reason)[:512] for node in unfused if node.reason),
    )


def describe_recorded(folder: Path) -> tuple[Graph, ...]:
    """Entries for the files for CUDA graphs that a bundle's folder has. Raises as `describe_graph`."""
    return tuple(describe_graph(folder / file, Path(file).stem) for file in (STEP, GROW) if (folder / file).exists())


def _tensor(value: Any) -> Tensor:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return Tensor(value.name, "unknown", ("...",))
    shape = tuple(size.dim_param or "?" if not size.HasField("dim_value") else size.dim_value for size in kind.shape.dim)
    return Tensor(value.name, graphs.dtype_name(kind.elem_type), shape if kind.HasField("shape") else ("...",))


def _node_kinds(flat: graphs.FlatGraph) -> tuple[NodeKind, ...]:
    def words(values: tuple[str, ...]) -> tuple[str, ...]:
        found = [flat.dtypes.get(value, "unknown") if value else "" for value in values]
        while found and not found[-1]:
            found.pop()
        return tuple(found)

    def kind(node: graphs.Node) -> tuple[str, int, tuple[str, ...], tuple[str, ...]]:
        definition = graphs.schema(node)
        # Operators that ONNX does not define are ONNX Runtime's, which has one version of each.
        since = definition.since_version if definition else 1
        return (f"{node.domain}::{node.op}" if node.domain else node.op, since, words(node.inputs), words(node.outputs))

    of_sizes = _size_arithmetic(flat)
    running = [node for node in flat.nodes if not node.links]
    counts, sizes = Counter(map(kind, running)), Counter(kind(node) for node in running if id(node) in of_sizes)
    return tuple(NodeKind(*what, count, sizes=sizes[what]) for what, count in sorted(counts.items()))


def _size_arithmetic(flat: graphs.FlatGraph) -> set[int]:
    """Which nodes, by id, take the sizes of tensors or count with nothing but these and constants, in whole numbers: ONNX Runtime keeps such numbers on the CPU."""
    sizes: set[str] = set()
    found = set()
    for node in flat.nodes:
        given = [name for name in node.inputs if name and name not in flat.weights]
        if node.op in MEASURES or (given and sizes.issuperset(given) and not any(flat.dtypes.get(name) in graphs.FLOATS for name in node.outputs)):
            found.add(id(node))
            sizes.update(node.outputs)
    return found


def inspect_bundle(folder: Path, device: str = "cpu") -> dict[str, Any]:
    """The values of `zen-edge inspect --json`, graphs for CUDA graphs last. Reads the manifest alone; BundleError as `read_manifest`, OptionError for an unknown device."""
    _known(device)
    manifest = read_manifest(folder)
    return {
        "task": manifest.task,
        "precision": manifest.precision,
        "graphs": [_summary(graph, device) for graph in (*manifest.graphs, *manifest.recorded)],
    }


def inspect_graph(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The same for one .onnx file, whose task and precision nothing tells."""
    _known(device)
    return {"task": None, "precision": None, "graphs": [_summary(describe_graph(path, path.stem), device)]}


def _known(device: str) -> None:
    if device not in DEVICES:
        raise OptionError(f"no device {device!r}: choose one of {', '.join(DEVICES)}")


def on_device(graph: Graph, device: str) -> dict[str, Any]:
    """{"supported": nodes with a kernel, "fallback": {operator: nodes without}}, and where there are such {"reasons": [...]} of each kind of them; of a GPU
    also {"sizes": nodes that count with sizes of tensors alone}, which are in neither."""
    fallback: Counter[str] = Counter()
    reasons, total, sizes = [], 0, 0
    for node in graph.nodes:
        counted = node.count - (node.sizes if device != "cpu" else 0)
        total, sizes = total + counted, sizes + node.count - counted
        reason = missing(node, device) if counted else None
        if reason is not None:
            fallback[node.op.rpartition("::")[2]] += counted
            reasons.append({"op": node.op, "version": node.version, "inputs": list(node.inputs), "count": counted, "reason": reason})
    found = {"supported": total - fallback.total(), "fallback": dict(sorted(fallback.items()))}
    return found | ({"sizes": sizes} if device != "cpu" else {}) | ({"reasons": reasons} if reasons else {})


def _summary(graph: Graph, device: str) -> dict[str, Any]:
    found = on_device(graph, device)
    return {
        "name": graph.name,
        "file": graph.file,
        "bytes": graph.size,
        "parameters": graph.parameters,
        "ops": graph.ops,
        "fused_attention": graph.fused_attention,
        "unfused_attention": graph.unfused_attention,
        "on_device": found,
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
        for node in row["on_device"].get("reasons", ()):
            console.print(*cells(f"elsewhere in {row['name']}: {node['count']} {node['op']} of {', '.join(node['inputs'])}: {node['reason']}"))
        for reason in row.get("unfused_reasons", ()):
            console.print(*cells(f"unfused in {row['name']}: {reason}"))
    console.print(operators)
