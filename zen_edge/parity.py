"""Parity: does a bundle still say what its PyTorch model says? Pure functions over arrays and tokens."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_edge.errors import CheckFailedError, ZenEdgeError
from zen_edge.text_scores import scores

Array = npt.NDArray[Any]
Margins = Callable[[int, int, int, int], float]
"""(input, step, reference token, bundle token) -> the first's log-probability less the second's, as the reference model gives them."""

MANY_LINES = 64
TIE = 1e-3  # tokens nearer than this in log-probability may trade places through rounding alone


@dataclass(frozen=True)
class Tolerance:
    """max_rel: largest difference over the largest reference value. cosine: lowest. chrf: largest loss of chrF; None where tokens decide."""

    max_rel: float
    cosine: float
    chrf: float | None


# Measured on the two trained models that ship, the worst output of either (max_rel, cosine): fp32 1e-6 and 1; fp16 4e-4 and 1; int8-blocks 0.019 and 0.9999;
# int8 0.023 and 0.9998; int4 0.18 and 0.991. Random weights 2.4 times as large as usual, where PyTorch with rounded weights errs as much: int8 0.49 and 0.983. A forgotten position
# bias was 0.14 in fp32, an unrelated output has a cosine near 0.
TOLERANCES = {
    "fp32": Tolerance(max_rel=1e-4, cosine=0.99999, chrf=None),
    "fp16": Tolerance(max_rel=0.02, cosine=0.9995, chrf=0.5),
    "int8-blocks": Tolerance(max_rel=0.1, cosine=0.995, chrf=0.5),
    "int8": Tolerance(max_rel=0.6, cosine=0.97, chrf=1.0),
    "int4": Tolerance(max_rel=0.6, cosine=0.9, chrf=3.0),
}
# Where a graph has its own. Whisper-base on made-up sounds: cosine 0.977, and single values as far off as 0.67 of the largest. Its attention: cosine 0.998 in the encoder and 0.990 from
# words to sound, and single weights 0.81, where two frames that are alike share a query and rounding gives one the other's share.
OF_GRAPHS = {("int8", graph): Tolerance(max_rel=1.0, cosine=0.97, chrf=1.0) for graph in ("speech encoder", "speech attention")}


@dataclass(frozen=True)
class OutputDifference:
    """note: why it did not pass, in words; "" if it did. max_abs and max_rel are infinite, cosine NaN, where no number can be told."""

    name: str
    max_abs: float
    max_rel: float
    cosine: float
    passed: bool
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"name": self.name, "max_abs": finite(self.max_abs), "max_rel": finite(self.max_rel), "cosine": finite(self.cosine)}
        return row if self.passed else {**row, "note": self.note}


@dataclass(frozen=True)
class Divergence:
    """Where two sequences part. margin: log-probability between their tokens; infinite if one sequence only ends before the other."""

    input: int
    step: int
    margin: float
    reference_text: str = ""
    bundle_text: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"input": self.input, "step": self.step, "margin": finite(self.margin)}


@dataclass(frozen=True)
class TokenComparison:
    """total = identical + ties + those that part at a step that is no tie, of which `first_divergence` is the first."""

    total: int
    identical: int
    ties: int
    first_divergence: Divergence | None

    def to_json(self) -> dict[str, Any]:
        first = self.first_divergence
        return {"total": self.total, "identical": self.identical, "first_divergence": first and first.to_json(), "ties": self.ties}


@dataclass(frozen=True)
class TextScore:
    """A text metric, 0 to 100, of the reference model's and of the bundle's texts against the same given references."""

    reference: float
    bundle: float


@dataclass(frozen=True)
class ParityReport:
    """cases: {"greedy alone", "beam padded", ...: tokens compared}. bisect: the first tensor out of tolerance. about: versions, machine, names."""

    precision: str
    outputs: tuple[OutputDifference, ...]
    cases: Mapping[str, TokenComparison] = field(default_factory=dict)
    text: Mapping[str, TextScore] = field(default_factory=dict)
    bisect: OutputDifference | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tolerance(self) -> Tolerance:
        return tolerance_of(self.precision)

    @property
    def tokens(self) -> TokenComparison:
        """All cases together."""
        cases = self.cases.values()
        first = next((case.first_divergence for case in cases if case.first_divergence), None)
        return TokenComparison(sum(case.total for case in cases), sum(case.identical for case in cases), sum(case.ties for case in cases), first)

    @property
    def chrf_limit(self) -> float | None:
        """The loss of chrF that passes: the tolerance on 64 lines or more, wider on fewer, whose score a single word moves.

        Of random draws from 655 lines of a bundle that loses nothing on all of them, 4 % of those of 16 lines lost more than 1 and none of 64.
        """
        lines = self.about.get("lines_with_target") or MANY_LINES
        return None if self.tolerance.chrf is None else self.tolerance.chrf * max(1.0, math.sqrt(MANY_LINES / lines))

    @property
    def failures(self) -> tuple[str, ...]:
        """What did not hold, a sentence each. A report that compared nothing did not hold."""
        found = [] if self.outputs else ["no output was compared"]
        found += [f"output {output.name}: {output.note}" for output in self.outputs if not output.passed]
        if self.precision == "fp32":
            for name, case in self.cases.items():
                if first := case.first_divergence:
                    found.append(f"tokens, {name}: input {first.input} parts at step {first.step}, margin {first.margin:.3g}")
        chrf, limit = self.text.get("chrF"), self.chrf_limit
        if chrf and limit is not None and not chrf.reference - chrf.bundle <= limit:  # so written, NaN fails
            found.append(f"text: chrF {chrf.bundle:.2f} is more than {limit:g} below the reference model's {chrf.reference:.2f}")
        return tuple(found)

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """JSON values, in the shape of `zen-edge parity --json`."""
        tokens = self.tokens.to_json()
        return {
            "passed": self.passed,
            "outputs": [output.to_json() for output in self.outputs],
            "tokens": {key: tokens[key] for key in ("total", "identical", "first_divergence")},
            "text": {name: {"reference": finite(score.reference), "bundle": finite(score.bundle)} for name, score in self.text.items()},
            "tolerance": {"precision": self.precision, **asdict(self.tolerance), "tie": TIE},
            "ties": tokens["ties"],
            "cases": {name: case.to_json() for name, case in self.cases.items()},
            "failures": list(self.failures),
            **({"bisect": self.bisect.to_json()} if self.bisect else {}),
            **({"about": dict(self.about)} if self.about else {}),
        }


def finite(number: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(number) if math.isfinite(number) else None


def tolerance_of(precision: str, graph: str = "") -> Tolerance:
    if precision not in TOLERANCES:
        raise ZenEdgeError(f"no precision {precision!r}: choose one of {', '.join(TOLERANCES)}")
    return OF_GRAPHS.get((precision, graph), TOLERANCES[precision])


def compare_outputs(name: str, reference: Array, bundle: Array, precision: str, mask: Array | None = None, graph: str = "") -> OutputDifference:
    """graph: where it has a tolerance of its own. mask: the leading dimensions of `reference`, False where values are padding. Integers and booleans must be equal; NaN and inf never pass."""
    return difference(name, reference, bundle, tolerance_of(precision, graph), mask)


def difference(name: str, reference: Array, bundle: Array, tolerance: Tolerance, mask: Array | None = None) -> OutputDifference:
    reference, bundle = np.asarray(reference), np.asarray(bundle)

    def failed(note: str) -> OutputDifference:
        return OutputDifference(name, math.inf, math.inf, math.nan, False, note)

    if reference.shape != bundle.shape:
        return failed(f"shape {list(bundle.shape)} instead of {list(reference.shape)}")
    if mask is not None:
        mask = np.asarray(mask, bool)
        if mask.shape != reference.shape[: mask.ndim]:
            return failed(f"mask {list(mask.shape)} does not fit shape {list(reference.shape)}")
        reference, bundle = reference[mask], bundle[mask]
    if reference.size == 0:
        return failed("no value to compare")
    exact = reference.dtype.kind in "iub"
    if exact != (bundle.dtype.kind in "iub"):
        return failed(f"dtype {bundle.dtype} instead of {reference.dtype}")
    a, b = reference.astype(np.float64).ravel(), bundle.astype(np.float64).ravel()
    for who, values in (("reference", a), ("bundle", b)):
        if bad := int(np.count_nonzero(~np.isfinite(values))):
            return failed(f"{bad} of {values.size} values of the {who} are NaN or infinite")
    max_abs, largest = float(np.abs(a - b).max()), float(np.abs(a).max())
    max_rel = max_abs / largest if largest else (0.0 if max_abs == 0 else math.inf)
    similarity = cosine(a, b)
    wrong = []
    if exact and (different := int(np.count_nonzero(reference != bundle))):
        wrong.append(f"{different} of {a.size} {reference.dtype} values differ")
    if not exact and not max_rel <= tolerance.max_rel:
        wrong.append(f"max_rel {max_rel:.3g} is over {tolerance.max_rel:g}")
    if not exact and not similarity >= tolerance.cosine:
        wrong.append(f"cosine {similarity:.6f} is under {tolerance.cosine:g}")
    return OutputDifference(name, max_abs, max_rel, similarity, not wrong, ", ".join(wrong))


def cosine(a: Array, b: Array) -> float:
    """Of two rows of numbers."""
    norms = [np.linalg.norm(x / (np.abs(x).max() or 1)) for x in (a, b)]  # scaled first, so that no square overflows
    if not all(norms):
        return 1.0 if not any(norms) else 0.0
    return float(np.dot(a / np.abs(a).max() / norms[0], b / np.abs(b).max() / norms[1]))


def compare_tokens(
    reference: Sequence[Sequence[int]],
    bundle: Sequence[Sequence[int]],
    margins: Margins,
    decode: Callable[[Sequence[int]], str] | None = None,
) -> TokenComparison:
    """Sequences of one case, in the order of the inputs. decode: turns tokens into text, for the report. CheckFailedError if one side has fewer."""
    if len(reference) != len(bundle):
        raise CheckFailedError(f"the bundle gave {len(bundle)} sequences where the reference gave {len(reference)}: they cannot be compared")
    identical, ties, first = 0, 0, None
    for i, (expected, given) in enumerate(zip(reference, bundle, strict=True)):
        step = next((s for s, (a, b) in enumerate(zip(expected, given, strict=False)) if a != b), min(len(expected), len(given)))
        if step == len(expected) == len(given):
            identical += 1
            continue
        prefix = step == min(len(expected), len(given))  # one merely ends sooner, which no margin explains
        margin = math.inf if prefix else abs(float(margins(i, step, int(expected[step]), int(given[step]))))
        if margin <= TIE:
            ties += 1
        elif first is None:
            texts = (decode(expected), decode(given)) if decode else ("", "")
            first = Divergence(i, step, margin, *texts)
    return TokenComparison(len(reference), identical, ties, first)


def compare_texts(references: Sequence[str], reference: Sequence[str], bundle: Sequence[str], task: str = "translation") -> dict[str, TextScore]:
    """chrF and BLEU of both models' texts against given references, and ROUGE for summarization; {} if none are given. MissingDependencyError
    without the libraries that score."""
    if not references:
        return {}
    if not len(references) == len(reference) == len(bundle):
        given = f"{len(references)} reference texts, {len(reference)} from the model, {len(bundle)} from the bundle"
        raise CheckFailedError(f"{given}: give one of each for every input")
    of_reference, of_bundle = (scores(task, texts, references) for texts in (reference, bundle))
    return {name: TextScore(score, of_bundle[name]) for name, score in of_reference.items()}


def bisect(
    names: Sequence[str],
    reference: Callable[[str], Array] | Mapping[str, Array],
    bundle: Callable[[str], Array] | Mapping[str, Array],
    tolerance: Tolerance,
) -> OutputDifference | None:
    """The first tensor, in the order of `names`, that is out of tolerance; None if all are within.

    Tensors are fetched one at a time; names that a mapping lacks, because a fusion swallowed them, are left out.
    ZenEdgeError if no name is on both sides: nothing would have been compared.
    """
    compared = 0
    for name in names:
        if any(isinstance(side, Mapping) and name not in side for side in (reference, bundle)):
            continue
        compared += 1
        a, b = (side[name] if isinstance(side, Mapping) else side(name) for side in (reference, bundle))
        if a.size == 0 and a.shape == b.shape:  # an empty past is no divergence
            continue
        found = difference(name, a, b, tolerance)
        if not found.passed:
            return found
    if not compared:
        raise ZenEdgeError("bisect found no tensor of the same name on both sides: compare with a fresh fp32 export of the same model")
    return None
