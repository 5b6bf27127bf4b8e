"""The tensors of a bundle's graphs against PyTorch's: what the graphs return, and the first value inside them that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zen_edge import compared_on
from zen_edge.attention_map import attention_file
from zen_edge.manifest import Graph, Manifest
from zen_edge.parity import OutputDifference, bisect, compare_outputs, difference, tolerance_of

if TYPE_CHECKING:
    from zen_edge.exporters.reference import Reference
    from zen_edge.runtimes.session import Session

Array = npt.NDArray[Any]
Rows = Sequence[Sequence[int]]
PADDING = 3  # columns beyond the longest line, so that every line is padded, one line alone too
TOP = 8  # candidates to compare
MOVED = 64  # positions to move: a window of speech has 1,500, which are moved alike


def compare_graphs(folder: Path, manifest: Manifest, reference: Reference, sources: Rows, tokens: Rows) -> Iterator[OutputDifference]:
    """What each graph returns for a padded batch of `sources`: the encoder's keys and values where there is no padding; the decoder's scores and
    candidates along `tokens`, the first half of the positions in one step and the others one at a time, so that past lengths and positions are
    tried; the rows that the reorder graph moves."""
    encoder = open_graph(folder, manifest, "encoder")
    ids, mask = _padded(sources, reference, manifest)
    cross = reference.cross(ids, mask)
    found = encoder.run({"input_ids": ids, "attention_mask": mask}, list(cross))
    for name, value in cross.items():
        inside = np.broadcast_to(mask[:, None, :, None] == 1, value.shape)
        yield compare_outputs(f"encoder.{name}", value, found[name].numpy(), manifest.precision, inside)
    del encoder, found  # of a large model no two graphs are held at a time

    forced, seen = _forced(tokens, reference)
    scores = reference.logits(ids, mask, forced)
    yield from compare_decoder(folder, manifest, cross, mask, forced, seen == 1, scores)
    if attention_file("decoder") in manifest.files:
        yield from _compare_attention(folder, manifest, reference.attention(ids, mask, forced), ids, mask, forced)


def _compare_attention(
    folder: Path, manifest: Manifest, expected: Mapping[str, Array], ids: Array, mask: Array, forced: Array
) -> Iterator[OutputDifference]:
    """The weights of attention along `forced` (B,S), each kind (B,L,N,S,T)."""
    from zen_edge.runtimes.attention import Attending

    found = Attending(folder, manifest, compared_on.device(), None).encoder_decoder().weights({"input_ids": ids, "attention_mask": mask}, forced)
    for kind, weights in expected.items():
        yield compare_outputs(f"attention.{kind}", weights, found[kind], manifest.precision)


def compare_decoder(
    folder: Path, manifest: Manifest, cross: Mapping[str, Array], mask: Array | None, forced: Array, inside: Array, scores: Array
) -> Iterator[OutputDifference]:
    """What the decoder returns along `forced` (B,S), of which `inside` (B,S) is no padding, against `scores` (B,S,V); what the reorder graph moves, and the cut graph keeps."""
    decoder = open_graph(folder, manifest, "decoder")
    step = _along(decoder, cross, mask, forced)
    yield compare_outputs("decoder.logits", scores[inside], step["logits"][inside], manifest.precision)
    yield compare_outputs("decoder.log_sum_exp", log_sum_exp(scores[inside]), step["log_sum_exp"][inside], manifest.precision)
    # The candidates are those of the bundle's own scores, whatever its precision.
    best = -np.sort(-step["logits"][inside], axis=-1)[:, :TOP]
    yield difference("decoder.top_scores", best, step["top_scores"][inside], tolerance_of("fp32"))
    chosen = np.take_along_axis(step["logits"][inside], np.clip(step["top_ids"][inside], 0, scores.shape[-1] - 1), axis=-1)
    yield difference("decoder.top_ids", best, chosen, tolerance_of("fp32"))

    rows = np.arange(len(forced) + 1)[::-1] % len(forced)  # every row moved, one of them twice
    yield _compare_moved(folder, manifest, "reorder", {"beam_index": np.ascontiguousarray(rows)}, cross, (rows,))
    if any(graph.name == "cut" for graph in manifest.graphs):
        length = min(MOVED, next(iter(cross.values())).shape[2]) // 2
        yield _compare_moved(folder, manifest, "cut", {"length": np.array([length])}, cross, (slice(None), slice(None), slice(length)))


def _compare_moved(
    folder: Path, manifest: Manifest, graph: str, told: Mapping[str, Array], values: Mapping[str, Array], at: tuple[Any, ...]
) -> OutputDifference:
    """What a graph that moves keys and values makes of the first of cross-attention, (B,N,T,H), against `at` of them."""
    names = {f"past_{name.removeprefix('cross_')}": np.ascontiguousarray(value[:, :, :MOVED]) for name, value in values.items()}
    moved = open_graph(folder, manifest, graph).run({**told, **names}, [name.replace("past_", "moved_") for name in names])
    given = np.stack([value.numpy() for value in moved.values()])
    expected = np.stack([value[at] for value in names.values()]).astype(given.dtype)  # in half precision keys and values are half
    return difference(f"{graph}.moved", expected, given, tolerance_of("fp32"))


def first_difference(fresh: Path, folder: Path, manifest: Manifest, reference: Reference, sources: Rows, tokens: Rows) -> OutputDifference | None:
    """The first tensor, in the order of computation, that is out of tolerance between the bundle in `folder` and `fresh`, an fp32 export of its
    checkpoint: of the encoder, then of the decoder at its first step and at one with a past. Tensors that only one of them holds are left out."""
    ids, mask = _padded(sources, reference, manifest)
    cross = reference.cross(ids, mask)
    forced, _ = _forced(tokens, reference)
    first = max(1, forced.shape[1] // 2)
    fixed: dict[str, Array] = {**cross, "attention_mask": mask, "top_k": np.array([1]), "want_log_sum_exp": np.array(False)}

    found, _ = first_of("encoder", {"input_ids": ids, "attention_mask": mask}, fresh, folder, manifest)
    if found is None:
        begin = {"input_ids": np.ascontiguousarray(forced[:, :first]), **fixed, **_no_past(cross)}
        found, begun = first_of("decoder", begin, fresh, folder, manifest)
    if found is None and forced.shape[1] > first:
        past = {name: begun[name.replace("past_", "present_")] for name in _no_past(cross)}
        found, _ = first_of("decoder", {"input_ids": np.ascontiguousarray(forced[:, first:]), **fixed, **past}, fresh, folder, manifest)
    return found


def first_of(
    graph: str, feeds: Mapping[str, Array], fresh: Path, folder: Path, manifest: Manifest
) -> tuple[OutputDifference | None, dict[str, Array]]:
    """The first difference within one graph, and every tensor of the fresh one."""
    order, expected = _every_tensor(fresh / f"{graph}.onnx", manifest.graph(graph), feeds)
    _, given = _every_tensor(folder / manifest.graph(graph).file, manifest.graph(graph), feeds)
    found = bisect(order, expected, given, tolerance_of(manifest.precision))
    return found and replace(found, name=f"{graph}.{found.name}"), expected


def _every_tensor(path: Path, described: Graph, feeds: Mapping[str, Array]) -> tuple[list[str], dict[str, Array]]:
    from zen_edge.exporters.probe import with_every_output
    from zen_edge.runtimes.providers import find_provider, for_graph
    from zen_edge.runtimes.session import Session

    graph, names = with_every_output(path)
    session = Session(path, for_graph(find_provider(compared_on.device()), described), None, graph=graph)
    found = session.run({name: feeds[name] for name in session.inputs}, names)
    return names, {name: value.numpy() for name, value in found.items()}


def open_graph(folder: Path, manifest: Manifest, name: str) -> Session:
    from zen_edge.runtimes.large_session import LargeSession
    from zen_edge.runtimes.providers import find_provider

    graph = manifest.graph(name)
    return LargeSession(folder / graph.file, find_provider(compared_on.device()), None, graph)


def _padded(sources: Rows, reference: Reference, manifest: Manifest) -> tuple[Array, Array]:
    """ids and mask (B,T), every row with padding unless the model has no position for it."""
    from zen_edge.runtimes.batching import pad

    longest = max(map(len, sources))
    width = max(longest, min(longest + PADDING, manifest.limits.get("max_source_length", longest + PADDING)))
    ids, mask = pad([*sources, [reference.pad_token_id] * width], reference.pad_token_id)
    return np.ascontiguousarray(ids[:-1]), np.ascontiguousarray(mask[:-1])


def _forced(tokens: Rows, reference: Reference) -> tuple[Array, Array]:
    """What the decoder is fed to give `tokens`, and where it is no padding; (B,S) each."""
    from zen_edge.runtimes.batching import pad

    return pad([[reference.start_token_id, *row[:-1]] for row in tokens], reference.pad_token_id)


def _no_past(cross: Mapping[str, Array]) -> dict[str, Array]:
    """Keys and values before the first word, (B,N,0,H)."""
    return {name.replace("cross_", "past_"): value[:, :, :0] for name, value in cross.items()}


def _along(decoder: Session, cross: Mapping[str, Array], mask: Array | None, forced: Array) -> dict[str, Array]:
    """What the decoder returns along `forced` (B,S): logits (B,S,V), top_scores and top_ids (B,S,K), log_sum_exp (B,S)."""
    S = forced.shape[1]
    past: dict[str, Any] = _no_past(cross)
    fixed = {**cross, "top_k": np.array([TOP]), "want_log_sum_exp": np.array(True)} | ({} if mask is None else {"attention_mask": mask})
    presents = [name.replace("past_", "present_") for name in past]
    wanted = ("logits", "top_scores", "top_ids", "log_sum_exp")
    found: dict[str, list[Array]] = {name: [] for name in wanted}
    first = max(1, S // 2)
    for start, end in [(0, first), *((i, i + 1) for i in range(first, S))]:
        step = decoder.run({"input_ids": np.ascontiguousarray(forced[:, start:end]), **fixed, **past}, [*wanted, *presents])
        past = {name: step[present] for name, present in zip(past, presents, strict=True)}
        for name in wanted:
            found[name].append(step[name].numpy())
    return {name: np.concatenate(values, axis=1) for name, values in found.items()}


def log_sum_exp(scores: Array) -> Array:
    """Over the last axis."""
    most = scores.max(axis=-1)
    return np.asarray(most + np.log(np.exp(scores - most[..., None]).sum(axis=-1)))
