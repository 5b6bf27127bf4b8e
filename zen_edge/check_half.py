"""What half precision may cost: a bundle in fp16 that is over the bound of its precision, held against what rounding its weights alone does to PyTorch.

Models whose outputs say much, those of random weights foremost, move by more than any fixed bound when their weights become halves, in PyTorch too. That is told from a fault in two
steps, of which the first knows no rounding:

1. With every half made single and the weights whole, the graphs say what PyTorch says within the bound of fp32, tokens included; and every weight in the file is the nearest half.
2. With every half made single and the weights as the file has them, each output moves by some part of its largest number, which is what rounding costs PyTorch itself. As it
   runs, in half precision, the file may be off by `FACTOR` times that, and where rounding alone moves more than `MOST` it is refused.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from zen_edge.errors import CheckFailedError
from zen_edge.manifest import Manifest
from zen_edge.parity import OutputDifference, ParityReport

FACTOR = 2.0
MOST = 0.2  # of the largest number: beyond it half precision says something else
Tell = Callable[[str], None]


def judged(
    report: ParityReport, bundle: Path, manifest: Manifest, fresh: Callable[[Path], object], compare: Callable[[Path], ParityReport], tell: Tell
) -> ParityReport:
    """`report` of an fp16 bundle that is over its bound and has no other failure, judged anew; any other as it is.

    fresh: exports the model in fp32 for the same device into a folder. compare: a bundle with PyTorch, as `report` was made.
    """
    over = [output for output in report.outputs if not output.passed]
    if manifest.precision != "fp16" or not over or len(over) < len(report.failures) or not all(math.isfinite(output.max_rel) for output in over):
        return report
    from zen_edge.exporters.widened import widen

    tell("over the bound of fp16: compare in single precision")
    with tempfile.TemporaryDirectory() as name:
        whole, rounded = Path(name) / "whole", Path(name) / "rounded"
        fresh(Path(name) / "fresh")
        try:
            widen(bundle, whole, Path(name) / "fresh")
        except CheckFailedError as error:
            return _refused(report, str(error).rstrip("."))
        exact = compare(whole)
        if not exact.passed:
            return _refused(report, f"in single precision too it does not say what PyTorch says: {exact.failures[0]}")
        widen(bundle, rounded)
        alone = compare(rounded).outputs
    pairs = list(_paired(report.outputs, alone))
    outputs = tuple(output if output.passed else _judged(output, only, report.tolerance.cosine) for output, only in pairs)
    worst, moved = max(((output, only) for output, only in pairs if not output.passed), key=lambda pair: pair[0].max_rel)
    told = (
        f"in half precision {worst.name} is off by {worst.max_rel:.2g} of its largest number; rounding the weights to half moves PyTorch's own by "
        f"{moved.max_rel:.2g}. In single precision the same graphs are off by {max(output.max_rel for output in exact.outputs):.1g}"
    )
    half = {"told": told, "rounding": {output.name: only.max_rel for output, only in pairs if not output.passed}}
    return replace(report, outputs=outputs, about={**report.about, "half": half})


def _paired(outputs: Sequence[OutputDifference], alone: Sequence[OutputDifference]) -> Iterator[tuple[OutputDifference, OutputDifference]]:
    """Each output with itself where only weights are rounded. A name may stand there twice, in one order; whole numbers are compared in single precision alone."""
    left = list(alone)
    for output in outputs:
        yield output, left.pop(next(i for i, one in enumerate(left) if one.name == output.name))


def _judged(output: OutputDifference, alone: OutputDifference, cosine: float) -> OutputDifference:
    """alone: the same output where nothing but the weights is rounded. cosine: the lowest that passes anyway."""
    near = output.max_rel <= FACTOR * alone.max_rel and 1 - output.cosine <= max(1 - cosine, FACTOR**2 * (1 - alone.cosine))
    if near and alone.max_rel <= MOST:
        return replace(output, passed=True, note="")
    if near:
        why = f"half precision is not for this model, whose own outputs move by {alone.max_rel:.2g} when its weights are rounded"
    else:
        why = f"rounding the weights alone moves PyTorch's by {alone.max_rel:.2g}, of which {FACTOR:g} times would pass"
    return replace(output, note=f"{output.note}; {why}")


def _refused(report: ParityReport, why: str) -> ParityReport:
    return replace(report, outputs=tuple(output if output.passed else replace(output, note=f"{output.note}; {why}") for output in report.outputs))
