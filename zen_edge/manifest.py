"""The manifest of a bundle, `zen-edge.json`: what a bundle is, read as something that anyone may have written."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from zen_edge.checked import Value, dump, parse, quoted
from zen_edge.errors import BundleError, CheckFailedError, OptionError
from zen_edge.files import LARGEST_MANIFEST, MANIFEST, MOST_FILES, read_small, reason, regular_files, sha256, unsafe_name, write_whole
from zen_edge.recipe import PRECISIONS, Recipe

FORMAT = 1
STATES_MASK = "encoder_attention_mask"  # what the encoder of utterances returns beside keys and values: which of its states are no padding, (B,T)
STEP, GROW = "step.onnx", "grow.onnx"  # files for CUDA graphs: a decoder with room for more words than there are, and what makes more room
DEVICES = ("cpu", "cuda")
WORD = r"[a-z0-9][a-z0-9_.-]{0,79}"
ALWAYS_HASHED = 4 * 2**20  # bytes; graphs and tokenizers are parsed by native code that should not see damaged input, and hash in a millisecond
RANK = 16  # of a tensor
GRAPHS = 64
TENSORS = 4096  # inputs or outputs of one graph, and kinds of node


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph. shape: sizes, or the names of symbolic ones ("B", "P+1"); ("...",) if even the rank is open."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class NodeKind:
    """Nodes that one kernel serves. op: "Softmax" or "com.microsoft::MultiHeadAttention". version: the opset that op is defined since.

    inputs, outputs: dtypes in order; "" for an input left out, "unknown" where the graph does not tell. sizes: how many of them count with nothing but the
    sizes of tensors; 0 in bundles made before these were told apart.
    """

    op: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    count: int
    sizes: int = 0


@dataclass(frozen=True)
class Graph:
    """size: bytes of the file and of the external data it reads. ops: nodes by operator, functions and subgraphs counted in. unfused_reasons: of
    attention layers that stayed unfused, as far as the export tells."""

    name: str
    file: str
    size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    ops: dict[str, int]
    fused_attention: int
    unfused_attention: int
    nodes: tuple[NodeKind, ...]
    unfused_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """head: what the outputs of a task without generation mean: labels, the token that stands for a mask. recipe: the precision of each part of the
    weights; None in bundles made before there were any. activations: {graph: how large its numbers became in fp32, and what stays single for that}, where an
    export to half precision measured it. recorded: the graphs of STEP and GROW, where an export for CUDA has them. unrecorded: why it has none."""

    format: int
    task: str
    model_type: str
    precision: str
    device: str
    graphs: tuple[Graph, ...]
    generation: dict[str, Any]
    tokenizer: dict[str, Any]
    limits: dict[str, int]
    files: dict[str, File]
    source: dict[str, str | None]
    made_with: dict[str, str]
    parity: dict[str, Any] | None = None
    head: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, str] | None = None
    activations: dict[str, Any] = field(default_factory=dict)
    recorded: tuple[Graph, ...] = ()
    unrecorded: str = ""

    def graph(self, name: str) -> Graph:
        """BundleError if there is none of that name."""
        for graph in self.graphs:
            if graph.name == name:
                return graph
        raise BundleError(f"{MANIFEST}: no graph {quoted(name)}, only {', '.join(graph.name for graph in self.graphs)}; export the bundle again")

    def require_weights(self, sha256: str, name: str) -> None:
        """CheckFailedError where the bundle was made from other weights than these, of the checkpoint `name`."""
        if self.source.get("weights_sha256") != sha256:
            raise CheckFailedError(
                f"the bundle was made from other weights ({self.source.get('name')}) than {name}: give the checkpoint it was exported from, or export again."
            )

    def to_json(self) -> str:
        """Sorted, the same text for the same manifest. BundleError if it holds what `from_json` would refuse."""
        try:
            text = dump(asdict(self)) + "\n"
            Manifest.from_json(text)
        except (TypeError, ValueError) as error:  # NaN, or a value that JSON does not have
            raise BundleError(f"{MANIFEST} cannot hold {quoted(str(error))}") from error
        return text

    @staticmethod
    def from_json(text: str | bytes) -> "Manifest":
        """BundleError, in one line, for anything that is not a manifest of this format or an older one."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        if len(data) > LARGEST_MANIFEST:
            raise BundleError(f"{MANIFEST} is larger than {LARGEST_MANIFEST} bytes; export the bundle again")
        return _manifest(Value(parse(data, MANIFEST), MANIFEST))


def _manifest(value: Value) -> Manifest:
    version = value.table().get("format", Value(None, f"{MANIFEST}.format")).integer(1)
    if version > FORMAT:
        raise BundleError(f"{MANIFEST} has format {version}, newer than the {FORMAT} this version reads: pip install --upgrade zen-edge")
    of = value.record(Manifest, newer=("head", "recipe", "activations", "recorded", "unrecorded"))
    manifest = Manifest(
        format=version,
        task=of["task"].text(WORD),
        model_type=of["model_type"].text(WORD),
        precision=of["precision"].choice(PRECISIONS),
        device=of["device"].choice(DEVICES),
        graphs=tuple(map(_graph, of["graphs"].items(GRAPHS))),
        generation=of["generation"].free(),
        tokenizer=of["tokenizer"].free(),
        limits={key: item.integer(high=2**40) for key, item in of["limits"].table().items()},
        files={_file_name(key): _file(item) for key, item in of["files"].table().items()},
        source={key: item.optional(Value.text) for key, item in of["source"].table().items()},
        made_with={key: item.text() for key, item in of["made_with"].table().items()},
        parity=of["parity"].optional(Value.free),
        head=of["head"].free() if "head" in of else {},
        recipe=of["recipe"].optional(_recipe) if "recipe" in of else None,
        activations=of["activations"].free() if "activations" in of else {},
        recorded=tuple(map(_graph, of["recorded"].items(GRAPHS))) if "recorded" in of else (),
        unrecorded=of["unrecorded"].text() if "unrecorded" in of else "",
    )
    if manifest.recipe is not None and manifest.precision != (coarsest := Recipe(manifest.recipe).precision):
        raise BundleError(f"{MANIFEST}: the precision is {manifest.precision}, and that of its recipe {coarsest}; export the bundle again")
    for table in ("limits", "source", "made_with"):
        for key in getattr(manifest, table):
            Value(key, f"{MANIFEST}.{table}, a key").text()
    if not manifest.graphs or len(manifest.files) > MOST_FILES:
        raise BundleError(f"{MANIFEST} should name at least one graph and at most {MOST_FILES} files; export the bundle again")
    every = (*manifest.graphs, *manifest.recorded)
    _unique((graph.name for graph in every), "graphs")
    for graph in every:
        if graph.file not in manifest.files:
            raise BundleError(f"{MANIFEST}: {quoted(graph.file)}, of graph {quoted(graph.name)}, is not among its files; export the bundle again")
    return manifest


def _recipe(value: Value) -> dict[str, str]:
    """Of a form that `Recipe` takes; the parts a bundle's graphs have none of are of no consequence."""
    parts = {part: item.choice(PRECISIONS) for part, item in value.table().items()}
    try:
        return dict(Recipe.of(parts).parts)
    except OptionError as error:
        raise BundleError(f"{value.where}: {error} Export the bundle again") from None


def _graph(value: Value) -> Graph:
    of = value.record(Graph, newer=("unfused_reasons",))
    graph = Graph(
        name=of["name"].text(WORD),
        file=_file_name(of["file"].text()),
        size=of["size"].integer(),
        inputs=tuple(map(_tensor, of["inputs"].items(TENSORS))),
        outputs=tuple(map(_tensor, of["outputs"].items(TENSORS))),
        parameters=of["parameters"].integer(),
        ops={Value(key, f"{value.where}.ops, a key").text(limit=128): item.integer(1) for key, item in of["ops"].table().items()},
        fused_attention=of["fused_attention"].integer(),
        unfused_attention=of["unfused_attention"].integer(),
        nodes=tuple(map(_node_kind, of["nodes"].items(TENSORS))),
        unfused_reasons=tuple(item.text() for item in of["unfused_reasons"].items(TENSORS)) if "unfused_reasons" in of else (),
    )
    _unique((tensor.name for tensor in graph.inputs), f"{value.where}.inputs")
    _unique((tensor.name for tensor in graph.outputs), f"{value.where}.outputs")
    return graph


def _tensor(value: Value) -> Tensor:
    of = value.record(Tensor)
    shape = tuple(size.text(limit=128) if isinstance(size.value, str) else size.integer(high=2**40) for size in of["shape"].items(RANK))
    return Tensor(of["name"].text(".+"), of["dtype"].text(WORD), shape)


def _node_kind(value: Value) -> NodeKind:
    of = value.record(NodeKind, newer=("sizes",))
    inputs, outputs = (tuple(dtype.text(f"({WORD})?") for dtype in of[side].items(TENSORS)) for side in ("inputs", "outputs"))
    count = of["count"].integer(1)
    sizes = of["sizes"].integer(high=count) if "sizes" in of else 0
    return NodeKind(of["op"].text(".+"), of["version"].integer(high=10_000), inputs, outputs, count, sizes)


def _file(value: Value) -> File:
    of = value.record(File)
    return File(of["sha256"].text("[0-9a-f]{64}"), of["size"].integer())


def _file_name(name: str) -> str:
    why = "is the manifest itself" if name == MANIFEST else unsafe_name(name)
    if why:
        raise BundleError(f"{MANIFEST}: the file name {quoted(name)} {why}; do not use this bundle unless you know who made it: export it again")
    return name


def _unique(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleError(f"{MANIFEST}: {where} holds the name {quoted(name)} twice; export the bundle again")
        seen.add(name)


def read_manifest(folder: Path, *, hashes: bool = False) -> Manifest:
    """The manifest of a bundle whose files are the ones it lists, by name and size, small ones by sha256 too, and all of them if `hashes`.

    BundleError if not.
    """
    here = f"bundle {quoted(str(folder))}"
    try:
        found = regular_files(folder)
        if MANIFEST not in found:
            raise BundleError(f"{here} has no {MANIFEST}: it is not a bundle; give the folder that `zen-edge export` wrote")
        try:
            manifest = Manifest.from_json(read_small(folder / MANIFEST, LARGEST_MANIFEST))
        except BundleError as error:
            raise BundleError(f"{here}: {error}") from None
        for name in [*manifest.files, *found]:
            if name not in found:
                raise BundleError(f"{here}: {quoted(name)} is missing; copy the bundle or export it again")
            if name != MANIFEST and name not in manifest.files:
                raise BundleError(f"{here}: {quoted(name)} is not one of its files; remove it")
        for name, file in manifest.files.items():
            if found[name] != file.size:
                raise BundleError(f"{here}: {quoted(name)} has {found[name]} bytes instead of {file.size}; copy the bundle or export it again")
            if (hashes or file.size <= ALWAYS_HASHED) and sha256(folder / name) != file.sha256:
                raise BundleError(f"{here}: {quoted(name)} was changed since the export (its sha256 differs); copy the bundle or export it again")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BundleError(f"{here} cannot be read: {why}; check the folder's permissions") from None
    return manifest


def describe_files(folder: Path) -> dict[str, File]:
    """Every file of a bundle that is being written, the manifest left out. BundleError for links and names a bundle may not hold."""
    sizes = {name: size for name, size in regular_files(folder).items() if name != MANIFEST}
    return {_file_name(name): File(sha256(folder / name), size) for name, size in sizes.items()}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces `zen-edge.json` whole. BundleError if it could not be read back, OSError if it cannot be written."""
    write_whole(folder / MANIFEST, manifest.to_json())


def hears_utterances(manifest: Manifest) -> bool:
    """Whether its encoder reads recordings of any length with a mask; that of other recognizers reads windows of one length."""
    encoder = next((graph for graph in manifest.graphs if graph.name == "encoder"), None)
    return encoder is not None and any(tensor.name == STATES_MASK for tensor in encoder.outputs)


def with_parity(manifest: Manifest, report: dict[str, Any]) -> Manifest:
    return replace(manifest, parity=report)
