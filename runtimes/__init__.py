"""What runs on the edge: numpy, ONNX Runtime, the tokenizers and a sentence splitter; no torch, no transformers, no onnx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zen_edge.errors import OptionError
from zen_edge.manifest import read_manifest
from zen_edge.runtimes.memory import keeping

if TYPE_CHECKING:
    from zen_edge.runtimes.providers import Device, Given


def load(
    bundle: str | Path,
    *,
    device: Device | None = None,
    device_id: int = 0,
    providers: Sequence[Given] | None = None,
    cuda_graphs: bool = False,
    threads: int | None = None,
    verify: bool = False,
    memory: str | None = None,
) -> Any:
    """Open a bundle as the pipeline of its task. device: "cpu", "cuda", "auto"; None: the one it was exported for. device_id: which GPU. providers: in the place
    of a device, execution providers of ONNX Runtime, each a name or (name, options). cuda_graphs: record steps of a decoder, or runs
    of fixed shapes, once and replay them. threads: None uses what the process may use.

    memory: how weights are kept, see `memory.keeping`; None: "auto". verify: compare every file with its sha256 (sizes are always compared). Raises BundleError for a damaged bundle, MissingDependencyError
    without ONNX Runtime or where what was asked for cannot start, OptionError for what there is not.
    """
    from zen_edge.runtimes.binding import require_recordable
    from zen_edge.runtimes.pipelines import open_pipeline
    from zen_edge.runtimes.providers import CUDA, find_provider, given_providers

    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads must be a whole number from 1, not {threads!r}.")
    if providers is not None and (device is not None or device_id):
        raise OptionError("providers stand in the place of a device: leave device and device_id out, or providers.")
    folder = Path(bundle)
    manifest = read_manifest(folder, hashes=verify)
    chosen = find_provider(device or manifest.device, device_id) if providers is None else given_providers(providers)
    if cuda_graphs:
        if chosen.name != CUDA.name:
            raise OptionError(f"CUDA graphs are of {CUDA.name}, and this would run on {chosen.name}: leave cuda_graphs out.")
        require_recordable(manifest)
        chosen = replace(chosen, cuda_graphs=True)
    with keeping(memory):
        return open_pipeline(folder, manifest, device=chosen, threads=threads)
