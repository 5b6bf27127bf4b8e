"""How large the numbers inside a bundle's graphs become, on the inputs that an export is checked on: what half precision can hold is told by that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zen_edge.check_quantized import Array, probe
from zen_edge.manifest import read_manifest

MASKS = 1e30  # what is added for a key that may not be seen is no activation, and is held to what half precision has
Largest = dict[str, float]
"""{value: the largest |x| in it}"""


def measure(bundle: Path) -> dict[str, Largest]:
    """{graph: its values} of an fp32 bundle; the decoder follows the words that the bundle says itself. Empty tensors, and those inside of branches, are left out."""
    tried = probe(bundle)
    feeds: dict[str, Mapping[str, Array]] = {}
    if tried.forced is None:
        feeds[read_manifest(bundle).graphs[0].name] = tried.sources
    else:
        cross = tried.cross(bundle)
        feeds = {"encoder": tried.sources, "decoder": tried.decoder_feeds(cross)}
    return {graph: _largest(bundle, graph, given) for graph, given in feeds.items()}


def _largest(bundle: Path, graph: str, feeds: Mapping[str, Array]) -> Largest:
    from zen_edge.exporters.probe import with_largest
    from zen_edge.runtimes.providers import find_provider
    from zen_edge.runtimes.session import Session

    path = bundle / read_manifest(bundle).graph(graph).file
    asking, names = with_largest(path)
    session = Session(path, find_provider("cpu"), None, graph=asking)
    found = session.run({name: feeds[name] for name in session.inputs}, list(names))
    told = {names[output]: float(value.numpy()) for output, value in found.items()}
    return {name: value for name, value in told.items() if value < MASKS}
