"""Who is measured: bundles, and engines with the model in the form that each of them loads."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_edge.benchmarks.cache import cache_folder, environment, fingerprint, made_once
from zen_edge.benchmarks.engines import Engine, engine
from zen_edge.benchmarks.engines.zen_edge import BATCHED
from zen_edge.benchmarks.process import Worker
from zen_edge.errors import CheckpointError, MissingDependencyError, ZenEdgeError
from zen_edge.manifest import read_manifest

Tell = Callable[[str], None]
CONVERT_LIMIT_S = 3600
LOADED = ("*.json", "*.safetensors", "pytorch_model*.bin", "*.spm", "*.model", "*.txt")


@dataclass(frozen=True)
class Contestant:
    """name: told apart by it, such as "ctranslate2 int8". folder: what it loads."""

    name: str
    engine: Engine
    precision: str
    folder: Path
    python: Path

    @property
    def disk_mb(self) -> float:
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file()) / 1e6


@dataclass(frozen=True)
class Failure:
    """An engine that could not take part, in all cases or (with sizes) in one."""

    engine: str
    precision: str
    error: str
    batch_size: int | None = None
    num_beams: int | None = None


def of_bundles(bundles: Sequence[Path], batched: bool = False) -> tuple[Contestant, ...]:
    """batched: each a second time, recordings cut at their silences. BundleError for a damaged one; MissingDependencyError without ONNX Runtime is left to its worker to tell."""
    precisions = [read_manifest(folder).precision for folder in bundles]
    shared = {precision for precision in precisions if precisions.count(precision) > 1}
    names = [f"zen-edge {p} ({folder})" if p in shared else f"zen-edge {p}" for folder, p in zip(bundles, precisions, strict=True)]
    if len(set(names)) < len(names):
        raise ZenEdgeError("a bundle is given twice.")
    # Absolute, and links kept: sys.executable in an environment is a link to a python outside of it.
    return tuple(
        Contestant(name + way, engine("zen_edge"), p + way, folder.resolve(), Path(sys.executable))
        for way in ("", BATCHED)[: 1 + batched]
        for name, p, folder in zip(names, precisions, bundles, strict=True)
    )


def asked_for(against: Sequence[str]) -> tuple[tuple[Engine, str], ...]:
    """ENGINE or ENGINE:PRECISION, each. ZenEdgeError for what is not known, before anything runs."""
    return tuple(dict.fromkeys(map(_parsed, against)))


def _parsed(text: str) -> tuple[Engine, str]:
    name, _, precision = text.strip().partition(":")
    if name.replace("-", "_") == "zen_edge":
        raise ZenEdgeError("zen-edge is what others are compared with: give its bundles as arguments.")
    found = engine(name)
    if precision and precision not in found.precisions:
        raise ZenEdgeError(f"{name} has no precision {precision!r}; there are: {', '.join(f'{name}:{p}' for p in found.precisions)}.")
    return found, precision or found.precisions[0]


def find_model(model: str | None, bundles: Sequence[Path]) -> Path:
    """The checkpoint's folder: the one given, a hub id's, or the one the first bundle was exported from."""
    name = model or read_manifest(bundles[0]).source.get("name") or ""
    if (Path(name) / "config.json").is_file():
        return Path(name).resolve()
    if model is None:
        raise ZenEdgeError("the checkpoint that the bundle was exported from is not there: give --model MODEL.")
    if Path(name).exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(f"{name!r} is no checkpoint folder (config.json and weights).")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingDependencyError('reading a hub id needs huggingface_hub: pip install "zen-edge[export]".') from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(LOADED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(f"{name!r} cannot be read from the hub: {' '.join(str(error).split())[:300]}") from error


def of_engines(asked: Sequence[tuple[Engine, str]], model: Path, tell: Tell, task: str = "translation") -> Iterator[Contestant | Failure]:
    """Each engine with the checkpoint converted for it, or why it cannot take part; the others go on."""
    for one, precision in asked:
        try:
            one.require_task(task)
            yield _prepared(one, precision, model, tell, task)
        except ZenEdgeError as error:
            yield Failure(one.name, precision, str(error))


def _prepared(one: Engine, precision: str, model: Path, tell: Tell, task: str) -> Contestant:
    one.require_installed()
    python = environment(one.name, one.environment, tell) if one.environment else Path(sys.executable)
    folder = model
    if one.converts:
        key = fingerprint(model, one.file.read_text(encoding="utf-8"), *_versions(one))
        folder = made_once(
            cache_folder() / "converted" / f"{one.name}-{precision}-{key}", lambda out: _convert(one, precision, model, out, python, tell, task)
        )
    return Contestant(f"{one.name} {precision}", one, precision, folder, python)


def _convert(one: Engine, precision: str, model: Path, out: Path, python: Path, tell: Tell, task: str) -> None:
    tell(f"{one.name}: convert the checkpoint to {precision} (once)")
    with Worker(python, one.file, threads=1) as worker:
        worker.ask("convert", CONVERT_LIMIT_S, model=str(model), out=str(out), precision=precision, task=task)


def _versions(one: Engine) -> tuple[str, ...]:
    """Another version may write another format."""
    return one.environment or tuple(f"{name}=={importlib.metadata.version(name)}" for name in one.packages)
