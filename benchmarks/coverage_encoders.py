"""Which of the model types that transformers has for texts without generation become bundles that say what PyTorch says, and why the others do not.

    python -m zen_edge.benchmarks.coverage_encoders docs/coverage-encoders.md

A tiny model of every type for every task, with random weights, is exported in fp32 and compared with PyTorch, each line alone and in padded batches;
in int8 for one task of each type, because the model under the head is the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zen_edge.benchmarks.apart import Apart
from zen_edge.benchmarks.coverage import SIMILAR, refused, write_page
from zen_edge.benchmarks.tiny_encoders import tasks_of, tiny_config, write_tiny_encoder
from zen_edge.bundle import Bundle
from zen_edge.errors import ZenEdgeError
from zen_edge.inputs import BUILT_IN
from zen_edge.manifest import Manifest
from zen_edge.parity import ParityReport
from zen_edge.quantizing import quantize
from zen_edge.tasks import ENCODER_OUTPUTS

SECONDS, MEMORY = 600, 12 * 2**30  # of one pair: a tiny model has no use for either, and some have sizes that a tiny configuration does not reach


@dataclass(frozen=True)
class Row:
    """What became of one model type for one task. attention: operators that are fused, and layers that are not. reason: why it is refused; "" if it is
    not. difference: the largest in fp32, over the largest value. int8: the lowest cosine, None where it was not looked at."""

    model_type: str
    task: str
    reason: str = ""
    attention: tuple[int, int] = (0, 0)
    difference: float = 0.0
    identical: int = 0
    ties: int = 0
    total: int = 0
    int8: float | None = None


def model_types() -> list[str]:
    from zen_edge.exporters.encoders import OF_TEXTS

    return sorted(OF_TEXTS)


def pairs() -> list[str]:
    """A model type and a task each, with a slash between."""
    return [f"{model_type}/{task}" for model_type in model_types() for task in tasks_of(model_type)]


def row_of(model_type: str, task: str) -> Row:
    """In int8 too where the task is the first of the type."""
    from zen_edge.exporters.encoders import class_of

    try:
        class_of(task, tiny_config(model_type, task))  # before a model is made: the default sizes of some are billions
        with tempfile.TemporaryDirectory() as name:
            manifest, report, int8 = _compared(Path(name), model_type, task)
    except ZenEdgeError as error:
        return Row(model_type, task, str(error))
    except Exception as error:  # noqa: BLE001 - of transformers' own, over sizes that do not go together
        return Row(model_type, task, f"not tried: no tiny model of it ({type(error).__name__}: {' '.join(str(error).split())[:120]})")
    if not report.passed:
        return Row(model_type, task, f"WRONG: {'; '.join(report.failures[:3])}")
    (graph,), tokens = manifest.graphs, report.tokens
    attention = graph.fused_attention, graph.unfused_attention
    difference = max(output.max_rel for output in report.outputs)
    return Row(model_type, task, "", attention, difference, tokens.identical, tokens.ties, tokens.total, int8)


def _compared(folder: Path, model_type: str, task: str) -> tuple[Manifest, ParityReport, float | None]:
    """The manifest of an export in fp32, its report, and the lowest cosine of the same in int8."""
    from zen_edge.check_encoder import compare
    from zen_edge.exporters import export
    from zen_edge.exporters.checkpoint import load_checkpoint

    write_tiny_encoder(folder / "checkpoint", model_type, task)
    bundle = export(folder / "checkpoint", folder / "fp32", task=task, precision="fp32")
    checkpoint = load_checkpoint(folder / "checkpoint", task=task)

    def report_of(bundle: Bundle) -> ParityReport:
        return compare(bundle.path, bundle.manifest, checkpoint, BUILT_IN, only_fitting=True, tell=_silent)[0]

    report = report_of(bundle)
    if not report.passed or task != tasks_of(model_type)[0]:
        return bundle.manifest, report, None
    rounded = quantize(bundle.path, folder / "int8", precision="int8", verify=False, force=False, tell=_silent)
    return bundle.manifest, report, min(output.cosine for output in report_of(rounded).outputs)


def _silent(step: str) -> None:
    pass


def page(rows: Iterable[Row]) -> str:
    """docs/coverage-encoders.md."""
    import transformers

    rows = list(rows)
    good = {
        row.model_type: {other.task: other for other in rows if other.model_type == row.model_type and not other.reason}
        for row in rows
        if not row.reason
    }
    lines = [
        "# Which encoders can be exported",
        "",
        f"Every model type that transformers {transformers.__version__} has for {', '.join(ENCODER_OUTPUTS)}. Written by",
        "`python -m zen_edge.benchmarks.coverage_encoders docs/coverage-encoders.md`: a tiny model of each type for each task, with random weights, is",
        "exported and compared with PyTorch, each line alone and in padded batches.",
        "",
        f"## Exported: {len(good)}",
        "",
        "Attention: layers that are one fused operator, and layers that are not, of two (models with more have more kinds of layers). By task: the largest",
        "difference in fp32 over the largest value; a dash where transformers has no such model, where it is refused, or where it was not tried. Every label, word and place that is",
        "chosen is PyTorch's, but for ties. int8: the lowest cosine of the outputs of the first task; random weights that say much err more than trained ones, and an export in int8",
        f"is held to the bound of its precision before it is kept. Below {SIMILAR}: {', '.join(sorted(row.model_type for row in rows if row.int8 is not None and row.int8 < SIMILAR)) or 'none'}.",
        "",
        f"| model type | attention | {' | '.join(ENCODER_OUTPUTS)} | int8 |",
        f"| --- | ---: |{' ---: |' * len(ENCODER_OUTPUTS)} ---: |",
        *(_line(model_type, by_task) for model_type, by_task in sorted(good.items())),
        "",
        *refused([(name, reason) for name, reason in _reasons(row for row in rows if row.reason)]),
        *_not_tried(rows),
    ]
    return "\n".join(lines)


def _not_tried(rows: Iterable[Row]) -> list[str]:
    """The part of the page that names what there is besides; nothing where all was tried."""
    tried = {(row.model_type, row.task) for row in rows}
    left = {kind: [task for task in tasks_of(kind) if (kind, task) not in tried] for kind in model_types()}
    named = [f"{kind} ({', '.join(tasks)})" for kind, tasks in left.items() if tasks]
    return ["## Not tried yet", "", f"{sum(map(len, left.values()))} pairs of a type and a task: {'; '.join(named)}.", ""] if named else []


def _line(model_type: str, by_task: dict[str, Row]) -> str:
    fused, unfused = next(iter(by_task.values())).attention
    cells = [f"{by_task[task].difference:.0e}" if task in by_task else "-" for task in ENCODER_OUTPUTS]
    int8 = next((f"{row.int8:.3f}" for row in by_task.values() if row.int8 is not None), "-")
    return f"| {model_type} | {fused} + {unfused} | {' | '.join(cells)} | {int8} |"


def _reasons(rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """(model type and tasks, reason): tasks that are refused in the same words stand together."""
    together: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        together.setdefault((row.model_type, row.reason.replace(row.task, "it")), []).append(row.task)
    for (model_type, reason), tasks in together.items():
        yield f"{model_type} ({', '.join(tasks)})", reason


def main() -> None:
    tried = Apart(row_of, seconds=SECONDS, memory=MEMORY)

    def rows_of(pair: str) -> Iterator[Row]:
        model_type, task = pair.split("/")
        try:
            yield tried(model_type, task)
        except ZenEdgeError as error:
            yield Row(model_type, task, f"not tried: {error}")

    write_page(pairs(), rows_of, page, Row)
    tried.close()


if __name__ == "__main__":
    main()
