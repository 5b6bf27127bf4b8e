"""An .onnx file as one flat list of nodes: functions and subgraphs opened up, every value under a name of its own."""

import itertools
from collections import ChainMap
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from zen_edge.checked import quoted
from zen_edge.errors import BundleError, MissingDependencyError
from zen_edge.files import unsafe_name

REASON = "zen_edge.unfused"  # what an export writes at a softmax whose attention stayed unfused
MOST_NODES = 200_000
DEEPEST_CALL = 64
RENAMED = {"float": "float32", "double": "float64"}  # ONNX's words to numpy's
FLOATS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Node:
    """links: outputs that merely are inputs by another name, at the border of a function or subgraph; such a node does not run. branch: of which
    If and which of its branches it is a part, counted from the outermost If; None: of none. reason: what the export wrote at it."""

    op: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: str = ""  # told by an attribute: of a Cast or a Constant
    links: bool = False
    branch: tuple[int, str] | None = None
    reason: str = ""


@dataclass(frozen=True)
class FlatGraph:
    """weights: {value: rank} of every initializer and constant. dtypes: {value: dtype} as far as the file or the operators tell."""

    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """parameters: elements of the initializers. size: bytes of the file and of the external data it points to. Both count a shared part once."""

    parameters: int
    size: int


def load(path: Path) -> Any:
    """The onnx.ModelProto, its external data left on disk. BundleError for a file that is none, MissingDependencyError without onnx."""
    try:
        import onnx  # noqa: TID251 - the one reader of graphs outside exporters, for `inspect FILE.onnx`
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # comes with onnx, without types
    except ImportError:
        raise MissingDependencyError('reading an .onnx file needs onnx: pip install "zen-edge[export]"') from None
    if not path.is_file():
        raise BundleError(f"{quoted(str(path))} is not a file: give a bundle's folder or an .onnx file")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise BundleError(f"{quoted(str(path))} cannot be read as ONNX ({type(error).__name__}): export it again") from None
    if not _readable(model):
        raise BundleError(f"{quoted(str(path))} holds names that are not text: export it again")
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{quoted(str(path))} holds no graph: export it again")
    return model


def _readable(message: Any) -> bool:
    """Whether every text field is text: protobuf hands out those that are not UTF-8 as bytes."""
    for kind, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value
        if kind.type == kind.TYPE_STRING and not all(isinstance(text, str) for text in values):
            return False
        if kind.type == kind.TYPE_MESSAGE and not all(map(_readable, values)):
            return False
    return True


def dtype_name(number: int) -> str:
    from onnx import TensorProto  # noqa: TID251 - numbers to names; `load` has told whether onnx is there

    word = TensorProto.DataType.Name(number).lower() if number in TensorProto.DataType.values() else "unknown"
    return "unknown" if word == "undefined" else RENAMED.get(word, word)


def stored(model: Any, path: Path) -> Stored:
    """BundleError for external data that is missing, too short or outside the file's folder."""
    parts: dict[tuple[str, int], int] = {}
    elements: dict[object, int] = {}
    for i, tensor in enumerate(_initializers(model.graph)):
        here = f"{quoted(str(path))}: tensor {quoted(tensor.name)}"
        if any(size < 0 for size in tensor.dims):
            raise BundleError(f"{here} has a negative size: export it again")
        if tensor.data_location != tensor.EXTERNAL:
            elements[i] = prod(tensor.dims)
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        name, offset = told.get("location", ""), told.get("offset", "0")
        if unsafe_name(name) or not _count(offset) or not _count(told.get("length", "0")):
            raise BundleError(f"{here} has no usable place in external data ({quoted(name)}): export it again")
        file = path.parent / name
        held = file.stat().st_size if file.is_file() else -1
        end = int(offset) + int(told["length"]) if "length" in told else held
        if not int(offset) <= end <= held:
            raise BundleError(f"{here} is in {quoted(name)}, which is missing or too short: copy it again, or export again")
        elements[name, int(offset)] = prod(tensor.dims)
        parts[name, int(offset)] = end - int(offset)
    return Stored(sum(elements.values()), path.stat().st_size + sum(parts.values()))


def _count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _initializers(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in graph.node:
        for _, body in _bodies(node):
            yield from _initializers(body)


def _bodies(node: Any) -> Iterator[tuple[str, Any]]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        yield from ((attribute.name, graph) for graph in attribute.graphs)


def flatten(model: Any) -> FlatGraph:
    """Calls of a function become its nodes, as often as it is called; a subgraph's nodes follow the node that holds it, once."""
    flat, functions = FlatGraph(), {(f.domain, f.name): f for f in model.functions}
    fresh, visits = itertools.count(), itertools.count(1)

    def read(
        body: Any, scope: MutableMapping[str, str], versions: dict[str, int], given: dict[str, Any], depth: int, branch: tuple[int, str] | None = None
    ) -> None:
        def define(name: str) -> str:
            scope[name] = name if depth == 0 else f"{name}#{next(fresh)}"
            return scope[name]

        if depth > DEEPEST_CALL:
            raise BundleError("the graph's functions or subgraphs are nested too deeply: export it again")
        whole = hasattr(body, "initializer")  # a function's inputs and outputs are names only
        for info in body.input if whole and depth == 0 else ():
            define(info.name)
        for tensor in body.initializer if whole else ():
            value = define(tensor.name)
            flat.weights[value], flat.dtypes[value] = len(tensor.dims), dtype_name(tensor.data_type)
        for node in body.node:
            if (place := next(visits)) > MOST_NODES:
                raise BundleError(f"the graph has more than {MOST_NODES} nodes: it is not one that zen-edge exports")
            inputs = tuple(scope.get(name, name) if name else "" for name in node.input)
            outputs = tuple(define(name) if name else "" for name in node.output)
            domain = "" if node.domain == "ai.onnx" else node.domain
            function = functions.get((node.domain, node.op_type))
            told = {a.name: given.get(a.ref_attr_name) if a.ref_attr_name else a for a in node.attribute}
            if function is None:
                reason = next((entry.value for entry in node.metadata_props if entry.key == REASON), "")
                dtype = _told_dtype(node.op_type, told)
                flat.nodes.append(Node(node.op_type, domain, versions.get(domain, 1), inputs, outputs, dtype, branch=branch, reason=reason))
                if node.op_type == "Constant" and outputs:
                    constant = told.get("value")
                    flat.weights[outputs[0]] = len(constant.t.dims) if constant else 0
            else:
                local = dict(zip(function.input, inputs, strict=False))
                read(function, local, _versions(function), {**{a.name: a for a in function.attribute_proto}, **told}, depth + 1, branch)
                _link(flat, (local.get(name, "") for name in function.output), outputs)
            for name, inner in _bodies(node):
                nested = ChainMap({}, scope)
                for formal in inner.input:
                    nested[formal.name] = f"{formal.name}#{next(fresh)}"
                _link(flat, inputs, [nested[formal.name] for formal in inner.input])
                own = (place, name) if branch is None and node.op_type == "If" else branch
                read(inner, nested, versions, given, depth + 1, own)
                _link(flat, [nested.get(o.name, "") for o in inner.output[1 if node.op_type == "Loop" else 0 :]], outputs)
        for info in itertools.chain(body.value_info, (*body.input, *body.output) if whole else ()):
            if info.name in scope and info.type.HasField("tensor_type"):
                flat.dtypes.setdefault(scope[info.name], dtype_name(info.type.tensor_type.elem_type))

    read(model.graph, {}, _versions(model), {}, 0)
    for node in flat.nodes:
        _infer(node, flat.dtypes)
    return flat


def _link(flat: FlatGraph, sources: Iterable[str], targets: Iterable[str]) -> None:
    flat.nodes.extend(Node("Identity", "", 1, (a,), (b,), links=True) for a, b in zip(sources, targets, strict=False) if a and b)


def _versions(owner: Any) -> dict[str, int]:
    return {"" if item.domain == "ai.onnx" else item.domain: item.version for item in owner.opset_import}


def _told_dtype(op: str, told: dict[str, Any]) -> str:
    if value := told.get("value"):
        return dtype_name(value.t.data_type)
    if op == "ConstantOfShape" or {"value_float", "value_floats"} & told.keys():
        return "float32"
    if {"value_int", "value_ints"} & told.keys():
        return "int64"
    number = told.get("to") or told.get("dtype")
    return dtype_name(number.i) if number else ""


def schema(node: Node) -> Any:
    """The operator's definition, None for operators that are not ONNX's own."""
    from onnx import defs  # noqa: TID251 - `load` has told whether onnx is there

    try:
        return defs.get_schema(node.op, max_inclusive_version=node.version, domain=node.domain)
    except defs.SchemaError:
        return None


def _infer(node: Node, dtypes: dict[str, str]) -> None:
    """Dtypes of the outputs, where the file leaves them out: by the operator's type variables; else the first float that goes in."""
    given = [dtypes.get(name, "unknown") if name else "" for name in node.inputs]
    missing = [i for i, name in enumerate(node.outputs) if name and name not in dtypes]
    if not missing:
        return
    definition = schema(node)
    bound: dict[str, str] = {}
    for formal, dtype in zip(definition.inputs if definition else (), given, strict=False):
        if dtype not in ("", "unknown"):
            bound.setdefault(formal.type_str, dtype)
    for i in missing:
        if node.dtype:
            dtype = node.dtype
        elif node.links:
            dtype = given[0]
        elif definition and definition.outputs:
            formal = definition.outputs[min(i, len(definition.outputs) - 1)]
            only = next(iter(formal.types)).removeprefix("tensor(").removesuffix(")") if len(formal.types) == 1 else "unknown"
            dtype = bound.get(formal.type_str, RENAMED.get(only, only))
        else:
            dtype = next((word for word in given if word in FLOATS), "unknown")
        dtypes[node.outputs[i]] = dtype
