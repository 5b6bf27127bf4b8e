"""Bundles made from an fp32 bundle in other precisions, and held against it before they are kept. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from zen_edge.bundle import Bundle
from zen_edge.check_quantized import compare
from zen_edge.errors import CheckFailedError, MissingDependencyError, OptionError
from zen_edge.files import new_folder
from zen_edge.recipe import PRECISIONS, Recipe

Tell = Callable[[str], None]


def quantize(bundle: Path, out: Path, *, precision: str, verify: bool, force: bool, tell: Tell) -> Bundle:
    """All of `bundle` in one precision."""
    if precision not in PRECISIONS[1:]:
        raise OptionError(f"no precision {precision!r}: choose one of {', '.join(PRECISIONS[1:])}.")
    with new_folder(out, force=force) as folder:
        made = write(bundle, folder, Recipe.uniform(precision), tell)
        if verify:
            tell("verify against the fp32 bundle")
            require_same(bundle, folder)
    return replace(made, path=out)


def write(bundle: Path, folder: Path, recipe: Recipe, tell: Tell) -> Bundle:
    """`exporters.bundles.quantize_bundle`, or MissingDependencyError where its libraries are not there."""
    try:
        from zen_edge.exporters.bundles import quantize_bundle
    except ImportError as error:
        raise MissingDependencyError(f'quantizing needs {error.name}: pip install "zen-edge[quantize]".') from error
    return quantize_bundle(bundle, folder, recipe, tell)


def require_same(before: Path, after: Path) -> None:
    """CheckFailedError where the outputs of `after` are further from the fp32 bundle's than its precision may be."""
    report = compare(before, after)
    if not report.passed:
        raise CheckFailedError(f"the quantized bundle does not say what the fp32 bundle says, and was not kept: {'; '.join(report.failures[:3])}.")
