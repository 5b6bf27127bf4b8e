"""A module of one's own: `module.py:factory` or `package.module:factory`, a callable that returns `(nn.Module, example_inputs)`.

Inputs are named after the arguments of `forward`; outputs after the keys of a dict or the fields of a named tuple, else output, output_1, ...
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import random
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zen_edge.checked import printable, quoted
from zen_edge.errors import ModuleError, UnsupportedModelError
from zen_edge.exporters.checkpoint import weights_hash

Inputs = Mapping[str, torch.Tensor]
DTYPES = (torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@dataclass(frozen=True)
class OwnModule:
    """A module ready to be evaluated. name: as it was asked for. inputs: the example, by argument of `forward`, in their order."""

    name: str
    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]

    def weights_hash(self) -> str:
        return weights_hash(self.module)

    def __call__(self, inputs: Inputs) -> dict[str, torch.Tensor]:
        """The outputs by name. Raises ModuleError where the module fails."""
        with torch.no_grad(), evaluated(self.module), blamed(f"{self.name}: the module"):
            return named_outputs(call(self.module, inputs))


def load_factory(name: str) -> OwnModule:
    """The module that a factory returns. Raises ModuleError for whatever stands in the way."""
    return returned_module(call_factory(name), name)


def call_factory(name: str) -> object:
    """What the factory returns under seed 0. Raises ModuleError for whatever stands in the way."""
    place, _, attribute = name.rpartition(":")
    with _seeded(), blamed(f"{name}: {place}"):
        holder = _import(place)
    if not hasattr(holder, attribute):
        there = [word for word, value in vars(holder).items() if callable(value) and not word.startswith("_")]
        raise ModuleError(f"{place} has no factory {attribute!r}; it has: {', '.join(there) or 'no callable at all'}.")
    factory = getattr(holder, attribute)
    if not callable(factory):
        raise ModuleError(f"{name} is not a factory but {_kind(factory)}; give a function that returns (module, example_inputs).")
    with _seeded(), blamed(f"{name}: the factory"):
        return factory()


def returned_module(found: object, name: str) -> OwnModule:
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], torch.nn.Module):
        raise ModuleError(
            f"{name} should return (module, example_inputs), a torch.nn.Module and a dict or tuple of tensors, or zen_edge.exporters.Seq2Seq(...), and returned {_kind(found)}."
        )
    return own_module(found[0], found[1], name)


def own_module(module: object, example_inputs: object, name: str = "") -> OwnModule:
    """`module` with its inputs named. ModuleError for what is no module, and for inputs that are not those of its `forward`."""
    if not isinstance(module, torch.nn.Module):
        raise ModuleError(f"expected a checkpoint's path, a hub id, file.py:factory or a torch.nn.Module, and got {_kind(module)}.")
    name = name or type(module).__name__
    return OwnModule(name, module, {key: _tensor(key, value) for key, value in _bound(module, example_inputs, name).items() if value is not None})


def call(module: torch.nn.Module, inputs: Inputs) -> object:
    """`module` called with inputs by name; those of *args are named args_0, args_1, ..."""
    parameters = inspect.signature(module.forward).parameters
    stars = [key for key in inputs if key not in parameters and _is_one_of_several(parameters, key)]
    kinds = {inspect.Parameter.POSITIONAL_ONLY} | ({inspect.Parameter.POSITIONAL_OR_KEYWORD} if stars else set())
    placed = [key for key, one in parameters.items() if one.kind in kinds and key in inputs] + stars
    return module(*(inputs[key] for key in placed), **{key: value for key, value in inputs.items() if key not in placed})


def named_outputs(found: object) -> dict[str, torch.Tensor]:
    """Tensors by name, out of whatever a module returns; None is left out. ModuleError for anything else in it."""
    named: dict[str, torch.Tensor] = {}
    for key, value in _flat(found, ""):
        if value is None:
            continue
        if not isinstance(value, torch.Tensor):
            raise ModuleError(f"the module returns {_kind(value)}{f' as {key!r}' if key else ''}; a bundle returns tensors only.")
        name = key or ("output" if not named else f"output_{len(named)}")
        if name in named:
            raise ModuleError(f"the module returns two tensors under the name {name!r}.")
        named[name] = value
    if not named:
        raise ModuleError(f"the module returns no tensor but {_kind(found)}.")
    return named


@contextlib.contextmanager
def evaluated(module: torch.nn.Module) -> Iterator[None]:
    """Without dropout, and without the shortcuts that PyTorch's own layers take in operators that no trace can follow; then as it was."""
    training = [part for part in module.modules() if part.training]
    shortcuts = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(shortcuts)
        for part in training:
            part.training = True


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Whatever the user's code raises as a ModuleError in one line, with the place in that code."""
    try:
        yield
    except (ModuleError, UnsupportedModelError, MemoryError):
        raise
    except Exception as error:
        if os.environ.get("ZEN_EDGE_DEBUG") == "1":
            raise
        raise ModuleError(f"{what} fails: {told(error)}") from error


def told(error: BaseException) -> str:
    """An exception of the user's code: what, where, and where it is known what to do."""
    first = printable(next((line.strip() for line in str(error).splitlines() if line.strip()), ""))[:200]
    where = place_of(error)
    text = f"{type(error).__name__}: {first}" + (f" ({where})" if where else "")
    if isinstance(error, TypeError) and "sqrt()" in first and "must be Tensor" in first:
        text += ". torch.sqrt takes a tensor and was given a Python number: write math.sqrt(d_k), or d_k ** 0.5"
    if "data-dependent" in str(error) or type(error).__name__.startswith(("GuardOnDataDependent", "DataDependent")):
        what = "the code goes one way or another by the numbers in a tensor, which one graph cannot: use torch.where, or decide by shapes only"
        text = f"{what} ({where or first})"
    return text if text.endswith(".") else text + "."


def place_of(error: BaseException) -> str:
    """file, line and text of the innermost frame of the error that is neither PyTorch's nor ours."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*ours, "<"))]
    frames = [f for f in frames if "site-packages" not in f.filename or "zen_edge" not in f.filename]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}"
    if not frames:
        return ""
    return printable(f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}: {(frames[-1].line or '')[:120]}".rstrip(": "))


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Every source of random numbers at 0 inside the block, and as it was after it."""
    before, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)


def _import(place: str) -> Any:
    file = Path(place)
    if place.endswith(".py"):
        if not file.is_file():
            raise ModuleError(f"there is no file {quoted(place)}; give file.py:factory or package.module:factory.")
        with _searched(file.resolve().parent):
            spec = importlib.util.spec_from_file_location(file.stem, file)
            assert spec is not None
            assert spec.loader is not None
            holder = importlib.util.module_from_spec(spec)
            before = sys.modules.get(file.stem)
            sys.modules[file.stem] = holder  # dataclasses look their own module up
            try:
                spec.loader.exec_module(holder)
            finally:
                if before is None:
                    sys.modules.pop(file.stem, None)
                else:
                    sys.modules[file.stem] = before
            return holder
    with _searched(Path.cwd()):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and place.startswith(error.name):
                raise ModuleError(f"there is no module {place!r} here; give file.py:factory or package.module:factory.") from error
            raise


@contextlib.contextmanager
def _searched(folder: Path) -> Iterator[None]:
    """Modules beside the user's own are found too."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _bound(module: torch.nn.Module, given: object, name: str) -> dict[str, object]:
    signature = inspect.signature(module.forward)
    try:
        if isinstance(given, Mapping):
            if wrong := [key for key in given if not isinstance(key, str)]:
                raise ModuleError(f"{name}: the example inputs have the key {wrong[0]!r}, which is no name of an argument.")
            bound = signature.bind(**given)
        elif isinstance(given, torch.Tensor):
            bound = signature.bind(given)
        elif isinstance(given, Sequence) and not isinstance(given, str):
            bound = signature.bind(*given)
        else:
            raise ModuleError(f"{name}: the example inputs should be a dict by argument name or a tuple in order, and are {_kind(given)}.")
    except TypeError as error:
        raise ModuleError(f"{name}: the example inputs are not what forward{signature} takes: {error}.") from error
    found: dict[str, object] = {}
    for key, value in bound.arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found |= {f"{key}_{i}": each for i, each in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        else:
            found[key] = value
    return found


def _is_one_of_several(parameters: Mapping[str, inspect.Parameter], key: str) -> bool:
    """Whether `key` is one of *args."""
    name, _, number = key.rpartition("_")
    return name in parameters and parameters[name].kind is inspect.Parameter.VAR_POSITIONAL and number.isdigit()


def _tensor(name: str, value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        advice = (
            "torch.from_numpy makes it one" if isinstance(value, np.ndarray) else "a fixed value belongs into the module: set it where it is made"
        )
        raise ModuleError(f"the example input {name!r} is {_kind(value)}, and a bundle takes tensors only; {advice}.")
    if value.dtype not in DTYPES:
        raise ModuleError(
            f"the example input {name!r} is {value.dtype}, which ONNX graphs on the edge do not take; there are: {', '.join(map(str, DTYPES))}."
        )
    if not value.numel():
        raise ModuleError(f"the example input {name!r} has the shape {list(value.shape)} and so no values; give one that has.")
    return value.detach()


def _flat(found: object, name: str) -> Iterator[tuple[str, object]]:
    if isinstance(found, Mapping):
        items: list[tuple[str, object]] = [(str(key), value) for key, value in found.items()]
    elif isinstance(found, tuple) and hasattr(found, "_fields"):
        items = list(zip(found._fields, found, strict=True))
    elif is_dataclass(found) and not isinstance(found, type):
        items = [(field.name, getattr(found, field.name)) for field in fields(found)]
    elif isinstance(found, tuple | list):
        items = [(str(i) if name else "", value) for i, value in enumerate(found)]
    else:
        yield name, found
        return
    for key, value in items:
        yield from _flat(value, f"{name}_{key}" if name and key else name or key)


def _kind(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} ({', '.join(type(one).__name__ for one in value[:4])})"
    return f"a value of type {type(value).__name__}"
