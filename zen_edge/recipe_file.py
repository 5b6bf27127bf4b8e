"""Recipes from files: one that a search found for a model, to be used for another of the same architecture."""

from __future__ import annotations

from pathlib import Path

from zen_edge.checked import Value, parse, printable, quoted
from zen_edge.errors import BundleError, OptionError
from zen_edge.files import LARGEST_MANIFEST, read_small, reason
from zen_edge.manifest import read_manifest
from zen_edge.recipe import Recipe


def read_recipe(path: Path) -> Recipe:
    """That of a bundle, or of a .json file with {part: precision}. OptionError for what is none, BundleError for a folder that is no bundle."""
    if path.is_dir():
        recipe = read_manifest(path).recipe
        if recipe is None:
            raise OptionError(
                f"bundle {quoted(str(path))} was made before there were recipes: give another, or a .json file with {{part: precision}}."
            )
        return Recipe.of(recipe)
    try:
        given = Value(parse(read_small(path, LARGEST_MANIFEST), path.name), path.name).table()
        return Recipe.of({part: precision.text() for part, precision in given.items()})
    except OSError as error:
        raise OptionError(f"the recipe {quoted(str(path))} cannot be read: {reason(error)}.") from None
    except (BundleError, ValueError) as error:
        told = printable(str(error)).split("; export the bundle again")[0]
        raise OptionError(f"{quoted(str(path))} is no recipe, which is a .json file with {{part: precision}}, or a bundle: {told}.") from None
