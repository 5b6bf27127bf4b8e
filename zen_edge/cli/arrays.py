"""What `zen-edge run` does with a module of one's own: arrays from one .npz file to another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.files import reason


def run_module(pipeline: Any, paths: Sequence[Path], output: Path | None, options: Mapping[str, Any], as_json: bool) -> None:
    """paths: one .npz file of inputs. The outputs go to `output`, to stdout as JSON, or both."""
    import numpy as np

    from zen_edge.inputs import read_arrays

    require_no_options(options)
    if len(paths) != 1:
        raise OptionError("a module of your own takes one .npz file of arrays by name: --inputs FILE.npz.")
    if output is None and not as_json:
        raise OptionError("say where the arrays go: --output FILE.npz, or --json for stdout.")
    if output is not None and output.suffix.lower() != ".npz":
        raise OptionError(f"arrays are written as .npz, not {output.name!r}: give --output such a name.")
    found = pipeline(read_arrays(paths[0]))
    if output is not None:
        try:
            np.savez(output, **found)
        except OSError as error:
            raise ZenEdgeError(f"cannot write {str(output)!r}: {reason(error)}; choose another place.") from None
    if as_json:
        try:
            typer.echo(json.dumps({name: array.tolist() for name, array in found.items()}, allow_nan=False))
        except ValueError:
            raise InputError("an output holds numbers that JSON has not (NaN, infinite): use --output FILE.npz.") from None


def require_no_options(options: Mapping[str, Any]) -> None:
    if options:
        raise OptionError(f"a module of your own takes no option {next(iter(options))!r}: leave it out.")
