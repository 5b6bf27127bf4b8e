"""How large the numbers inside a bundle's graphs become, on the inputs that an export is checked on: what half precision can hold is told by that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zen_edge.check_quantized import Array, probe
from zen_edge.manifest import Graph, read_manifest

MASKS = 1e30  # what is added for a key that may not be seen is no activation, and is held to what half precision has
Largest = dict[str, float]
"""{value: the largest |x| in it}"""


def measure(bundle: Path) -> dict[str, Largest]:
    """{graph: its values} of an fp32 bundle; the decoder follows the words that the bundle says itself. Empty tensors, and those inside of branches, are left out."""
    from zen_edge.runtimes.memory import keeping, sparing

    manifest = read_manifest(bundle)
    with keeping(sparing(manifest)):
        tried = probe(bundle)
        feeds: dict[str, Mapping[str, Array]] = {}
        if tried.forced is None:
            feeds[manifest.graphs[0].name] = tried.sources
        else:
            cross = tried.cross(bundle)
            feeds = {"encoder": tried.sources, "decoder": tried.decoder_feeds(cross)}
        return {graph: _largest(bundle, manifest.graph(graph), given) for graph, given in feeds.items()}


def _largest(bundle: Path, graph: Graph, feeds: Mapping[str, Array]) -> Largest:
    from zen_edge.exporters.probe import with_largest
    from zen_edge.runtimes.large_session import LargeSession
    from zen_edge.runtimes.providers import find_provider

    path = bundle / graph.file
    asking, names = with_largest(path)
    session = LargeSession(path, find_provider("cpu"), None, graph, asking)
    found = session.run({name: feeds[name] for name in session.inputs}, list(names))
    told = {names[output]: float(value.numpy()) for output, value in found.items()}
    return {name: value for name, value in told.items() if value < MASKS}
