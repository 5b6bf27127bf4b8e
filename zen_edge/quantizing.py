"""Bundles made from an fp32 bundle in other precisions, and held against it before they are kept. Needs no PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zen_edge.activations import Largest
from zen_edge.activations import measure as measure_largest
from zen_edge.budget import OF_LAYERS, QUICK, SCORES, TRIED, Budget, Trial, lines_to_be_sure, parts_to_try, path, within
from zen_edge.bundle import Bundle
from zen_edge.check_quantized import compare
from zen_edge.errors import CheckFailedError, InputError, MissingDependencyError, OptionError
from zen_edge.files import MANIFEST, new_folder
from zen_edge.held import work_name
from zen_edge.inputs import Line, Question, read_lines, read_questions
from zen_edge.manifest import Manifest, read_manifest
from zen_edge.probed import Layers
from zen_edge.recipe import GROUPS, PRECISIONS, Recipe, require_kernels
from zen_edge.sensitivity import Measure
from zen_edge.text_scores import require_scores

Tell = Callable[[str], None]
Advance = Callable[[str, int, int], None]
"""(what is measured next, how many are done, of how many)"""
TOLD = 6  # parts of a recipe, in an error
FEWEST = 16  # lines, half of them held out


def quantize(bundle: Path, out: Path, *, precision: str, verify: bool, force: bool, tell: Tell, recipe: Mapping[str, str] | None = None) -> Bundle:
    """All of `bundle` in one precision, or its parts as `recipe` says."""
    if recipe is None and precision not in PRECISIONS[1:]:
        raise OptionError(f"no precision {precision!r}: choose one of {', '.join(PRECISIONS[1:])}.")
    wanted = Recipe.uniform(precision) if recipe is None else Recipe.of(recipe)
    manifest = _require_fp32(bundle)
    for each in wanted.parts.values():
        require_kernels(each, manifest.device)
    if recipe is not None:
        _require_parts(bundle, wanted)
    with new_folder(out, force=force) as folder:
        largest = None
        if any(_exporter().is_halved(each, manifest.device) for each in wanted.parts.values()):
            tell("measure how large its numbers become")
            largest = measure_largest(bundle)
        made = write(bundle, folder, wanted, tell, largest)
        if verify:
            tell("verify against the fp32 bundle")
            require_same(bundle, folder)
    return replace(made, path=out)


def _require_parts(bundle: Path, recipe: Recipe) -> None:
    """OptionError for layers that the bundle does not have, and for a recipe that changes nothing of it."""
    there = {part for held in _layers(bundle).values() for part in held}
    layers = {f"{group}.{layer}" for group, layer in there if layer is not None}
    if absent := [part for part in recipe.parts if "." in part and part not in layers]:
        raise OptionError(
            f"the recipe is of another model: the bundle has no {', '.join(absent[:TOLD])}; its layers are {', '.join(sorted(layers)) or 'not told apart'}."
        )
    if all(recipe.precision_of(*part) == "fp32" for part in there):
        raise OptionError("the recipe leaves every part that the bundle has in fp32: nothing would change.")


def write(bundle: Path, folder: Path, recipe: Recipe, tell: Tell, largest: Mapping[str, Largest] | None = None) -> Bundle:
    """`exporters.bundles.quantize_bundle`, or MissingDependencyError where its libraries are not there."""
    made: Bundle = _exporter().quantize_bundle(bundle, folder, recipe, tell, largest)
    return made


def _require_fp32(bundle: Path) -> Manifest:
    manifest: Manifest = _exporter().require_fp32(bundle)
    return manifest


def _exporter() -> Any:
    try:
        from zen_edge.exporters import bundles
    except ImportError as error:
        raise MissingDependencyError(f'quantizing needs {error.name}: pip install "zen-edge[quantize]".') from error
    return bundles


def require_same(before: Path, after: Path) -> None:
    """CheckFailedError where the outputs of `after` are further from the fp32 bundle's than its precision may be."""
    from zen_edge.runtimes.memory import keeping, sparing

    with keeping(sparing(read_manifest(before))):
        report = compare(before, after)
    if not report.passed:
        raise CheckFailedError(f"the quantized bundle does not say what the fp32 bundle says, and was not kept: {'; '.join(report.failures[:3])}.")


@dataclass(frozen=True)
class Point:
    """A recipe that was measured. milliseconds: of a few lines; spread: by how much rounds differ. loss, held_out: by the budget's metric on the lines to search on and on those held out, None where it was not measured."""

    name: str
    recipe: Recipe
    error: float
    megabytes: float
    milliseconds: float
    spread: float
    loss: float | None = None
    held_out: float | None = None


@dataclass(frozen=True)
class Found:
    """fp32: the bundle as it was. groups: those it has weights of. alone: each part alone in each precision; tried: whole recipes; chosen: the last of them that held, held_out: its loss
    on the lines held out, and doubt: by about how much as many other lines would give another, None where outputs are compared. lines: that were measured;
    to_be_sure: about how many would tell that it is within the budget with its standard error too, None where these do."""

    bundle: Bundle
    budget: Budget
    fp32: Point
    groups: frozenset[str]
    alone: tuple[Point, ...]
    tried: tuple[Point, ...]
    chosen: Point
    held_out: float
    doubt: float | None = None
    lines: int = 0
    to_be_sure: float | None = None


def within_budget(bundle: Path, out: Path, *, budget: str, inputs: Path, fastest: bool, force: bool, advance: Advance) -> Found:
    """The smallest recipe, or the fastest here, whose loss against `bundle` is within `budget` on half of the lines and on the other half too, with the
    standard error that it has on each; where there is none, the smallest or fastest by its loss alone.

    What was measured is kept beside `out` until the search ends. CheckFailedError, with the best that was found, where no recipe is within the budget.
    """
    asked = Budget.parse(budget)
    manifest = _require_fp32(bundle)
    if fastest and manifest.device != "cpu":
        raise OptionError(f"times are measured on this machine's CPU, and the bundle was exported for {manifest.device}: leave --fastest out.")
    lines = _lines(inputs, asked, manifest.task)
    kept, work = out.parent / f".{out.name[:50]}.search.json", out.parent / work_name(out.name, "search")
    key = hashlib.sha256(f"{(bundle / MANIFEST).read_text()} {lines} {asked.metric} in turns".encode()).hexdigest()
    layers, largest = _layers(bundle), None if fastest else measure_largest(bundle)  # half precision is not tried for speed
    groups = frozenset(_by_group(layers))
    with (
        new_folder(out, force=force) as folder,
        Measure(
            bundle,
            manifest.task,
            asked,
            (lines[::2], lines[1::2]),
            lambda into, recipe: write(bundle, into, recipe, _silent, largest),
            kept,
            work,
            key,
            layers,
        ) as measure,
    ):
        advance("fp32", 0, 1)
        measure.begin()
        fp32 = _point("fp32", measure, Recipe.uniform("fp32"))
        wanted = _to_try(layers, fastest, manifest.device)
        alone = _sensitivities(measure, wanted, advance)
        changeable = parts_to_try(_by_group(layers))
        recipes = path([_trial(point, fp32, fastest) for point in alone if point.name.split()[0] in changeable])
        if len(recipes) == 1 and not fastest:
            raise CheckFailedError("no part of the bundle is smaller in another precision: stay with fp32.")
        whole = [recipe for recipe in map(Recipe.uniform, QUICK if fastest else ()) if recipe not in recipes]
        held, sure = within(recipes, whole, _losses(measure, recipes, len(alone), advance), measure.doubt, asked.most)
        tried = tuple(
            replace(
                _point(f"recipe {i}" if i < len(recipes) else f"all {recipe.precision}", measure, recipe),
                loss=loss,
                held_out=measure.known_loss(recipe, 1),
            )
            for i, recipe in enumerate([*recipes, *whole])
            if i and (loss := measure.known_loss(recipe, 0)) is not None
        )
        if not held:
            raise CheckFailedError(_refused(asked, fp32, groups, tried, measure))
        fit = [[point for point in tried if point.recipe in those] for those in (sure, held)]
        chosen = _fastest(fp32, fit) if fastest else (fit[0] or fit[1])[0]
        made = write(bundle, folder, chosen.recipe, _silent, largest)
        found = [(measure.loss(chosen.recipe, half), measure.doubt(chosen.recipe, half)) for half in (0, 1)]
    measure.forget()
    needed = lines_to_be_sure(len(lines), found, asked.most)
    return Found(replace(made, path=out), asked, fp32, groups, tuple(alone), tried, chosen, *found[1], len(lines), needed)


def _losses(measure: Measure, recipes: Sequence[Recipe], done: int, advance: Advance) -> Callable[[Recipe, int], float]:
    """Of a recipe on a half, told on the way; what it costs is measured while its bundle is there."""

    def measured(recipe: Recipe, half: int) -> float:
        name = f"recipe {recipes.index(recipe)} of {len(recipes) - 1}" if recipe in recipes else f"all in {recipe.precision}"
        advance(f"{name}{', lines held out' if half else ''}", done, done)
        measure.alone(recipe)
        return measure.loss(recipe, half)

    return measured


def _fastest(fp32: Point, fit: Sequence[Sequence[Point]]) -> Point:
    """Of whole recipes, because the times of parts do not add up to theirs; of the first of `fit` that has one. CheckFailedError where none is faster than fp32 by
    more than its times vary."""
    for points in fit:
        if faster := [point for point in points if point.milliseconds + point.spread < fp32.milliseconds]:
            return min(faster, key=lambda point: point.milliseconds)
    raise CheckFailedError(
        "nothing within the budget is faster, by more than its times vary, than fp32: stay with fp32, or search for the smallest without --fastest."
    )


def _refused(budget: Budget, fp32: Point, groups: frozenset[str], tried: Sequence[Point], measure: Measure) -> str:
    """What was nearest to the budget, in words."""
    held_out = {point.name: loss for point in tried if (loss := measure.known_loss(point.recipe, 1)) is not None}
    worst = {point.name: max(point.loss or 0.0, held_out.get(point.name, 0.0)) for point in tried if not held_out or point.name in held_out}
    best = min((point for point in tried if point.name in worst), key=lambda point: worst[point.name])
    changed = [f"{part} in {precision}" for part, precision in best.recipe.of_groups(groups).items() if precision != "fp32"]
    some = ", ".join(changed[:TOLD]) + (f" and {len(changed) - TOLD} more" if len(changed) > TOLD else "")
    return (
        f"no recipe loses {budget.most:.3g} of {budget.metric} or less both on the lines searched and on those held out: the best found loses {worst[best.name]:.3g}, "
        f"with {some}, at {best.megabytes:.1f} MB ({fp32.megabytes:.1f} MB in fp32). Give more lines, or a wider budget."
    )


def _silent(step: str) -> None:
    pass


def _lines(inputs: Path, budget: Budget, task: str) -> Sequence[Line | Question]:
    budget.require_measured(task)
    answers = task == "question-answering"
    lines: Sequence[Line | Question] = read_questions(inputs) if answers else read_lines(inputs)
    if budget.metric in SCORES:
        if not answers:
            require_scores(task)
        lines = tuple(line for line in lines if (line.answers if isinstance(line, Question) else line.target is not None))
    if len(lines) < FEWEST:
        raise InputError(
            f"a budget is measured on {FEWEST} lines or more{' with ' + ('answers' if answers else 'a target') if budget.metric in SCORES else ''}, and {inputs.name} has {len(lines)}."
        )
    return lines


def _layers(bundle: Path) -> Layers:
    import onnx_ir as ir

    from zen_edge.exporters.quantization.parts import parts

    graphs = read_manifest(bundle).graphs
    return {graph.name: {(part.group, part.layer) for part in parts(ir.load(bundle / graph.file).graph)} for graph in graphs}


def _by_group(layers: Layers) -> dict[str, list[int]]:
    """The layers of each group that has weights, [] for one whose layers are not told apart."""
    found: dict[str, set[int]] = {}
    for group, layer in (part for held in layers.values() for part in held):
        found.setdefault(group, set()).update(() if layer is None else (layer,))
    return {group: sorted(numbers) for group, numbers in found.items()}


def _to_try(layers: Layers, fastest: bool, device: str) -> list[tuple[str, str]]:
    """Every group in each precision that the device has kernels for, and then every layer of those that have several."""
    groups = [group for group in GROUPS if group in _by_group(layers)]
    wanted = [(group, precision) for group in groups for precision in (QUICK if fastest else TRIED) if precision != "int8" or device == "cpu"]
    return wanted + [(part, precision) for part in parts_to_try(_by_group(layers)) if part not in groups for precision in OF_LAYERS[fastest]]


def _sensitivities(measure: Measure, wanted: Sequence[tuple[str, str]], advance: Advance) -> list[Point]:
    found = []
    for done, (part, precision) in enumerate(wanted):
        advance(f"{part} in {precision}", done, len(wanted))
        found.append(_point(f"{part} {precision}", measure, Recipe.uniform("fp32").changed(part, precision)))
    return found


def _point(name: str, measure: Measure, recipe: Recipe) -> Point:
    told = measure.alone(recipe)
    return Point(name, recipe, told["error"], told["bytes"] / 1e6, 1e3 * told["seconds"], 1e3 * told["spread"])


def _trial(point: Point, fp32: Point, fastest: bool) -> Trial:
    part, precision = point.name.split()
    # Time that is saved for certain: the rest may be noise.
    return Trial(part, precision, point.error, fp32.milliseconds - point.milliseconds - point.spread if fastest else fp32.megabytes - point.megabytes)
