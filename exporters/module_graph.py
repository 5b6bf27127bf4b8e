"""The one graph of a module of one's own: traced with its free axes free, its attention fused.

module graph:  the arguments of forward  ->  what it returns, by name
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch

from zen_edge.errors import ModuleError
from zen_edge.exporters.axes import Axes, Declared, declared_axes, find_axes, traced_inputs
from zen_edge.exporters.fusions.attention import LAYER, WHOLE
from zen_edge.exporters.own_module import OwnModule, blamed, call, evaluated, named_outputs
from zen_edge.exporters.recurrent import recurrent
from zen_edge.exporters.spellings import Spellings
from zen_edge.exporters.trace import OPSET, name_axes, quiet
from zen_edge.module_names import stored_name

GRAPH = "module"
TRIED = 2048  # limits up to here are tried on the module
SCOPES, STACK = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace"


@dataclass(frozen=True)
class Traced:
    """limits: {"max_S": the largest size of an axis that the module takes}."""

    graph: ir.Model
    axes: Axes
    limits: dict[str, int]


def trace_module(own: OwnModule, declared: Declared | None = None) -> Traced:
    """declared: {input: {axis: letter}}; None: found out. ModuleError for what cannot be traced."""
    outputs = _require_steady(own)
    if declared is None:
        axes, example = find_axes(own)
    else:
        axes = declared_axes(own, declared)
        example = traced_inputs(own, axes)
    program = _export(own, axes, example)
    fixed = _fixed(program, own, axes)
    if fixed and declared is not None:
        told = " and ".join(f"axis {axis} of {name!r}" for letter in fixed for name, axis in axes.letters[letter])
        raise ModuleError(
            f"{own.name}: dynamic calls {told} free, but the module's code makes a number of its size (int(...), a loop over it), which a trace "
            "keeps as it is: compute with tensors there, or leave that axis out."
        )
    if fixed:  # at the size of the example, not at the one that the trace was given
        sizes = axes.sizes(example)
        axes = axes.without(fixed)
        example = axes.resized(own.inputs, {letter: sizes[letter] for letter in axes.letters})
        program = _export(own, axes, example)
    model = _to_onnx(own, program)
    _name(model, own, axes, list(outputs))
    return Traced(model, axes, _limits(program, own, axes))


class _Call(torch.nn.Module):
    """The module as a function of a tuple of tensors; an output that is an input, or another output, is a value of its own. Axes of one letter are
    said to have one size, so that the trace takes what is computed of them for the same."""

    def __init__(self, own: OwnModule, axes: Axes) -> None:
        super().__init__()
        self.module, self._names, self._groups = own.module, tuple(own.inputs), tuple(axes.letters.values())

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        given = dict(zip(self._names, inputs, strict=True))
        for (first, at), *others in self._groups:
            for name, axis in others:
                torch._check(given[first].shape[at] == given[name].shape[axis])
        with Spellings():
            found = named_outputs(call(self.module, given)).values()
        seen = {id(one) for one in inputs}
        fresh = []
        for one in found:
            fresh.append(one.clone() if id(one) in seen else one)
            seen.add(id(one))
        return tuple(fresh)


def _require_steady(own: OwnModule) -> dict[str, torch.Tensor]:
    """The outputs of the example. ModuleError where they are not numbers, or others at a second look."""
    first, second = own(own.inputs), own(own.inputs)
    for name, value in first.items():
        if not torch.equal(torch.nan_to_num(value.float()), torch.nan_to_num(second[name].float())):
            raise ModuleError(
                f"{own.name} answers the same input differently each time ({name!r}): something in it is random although it is evaluated, for "
                "instance F.dropout without training=self.training."
            )
        if value.is_floating_point() and not torch.isfinite(value).any():
            raise ModuleError(f"{own.name} gives no finite number for the example inputs ({name!r}): nothing could be compared.")
    return first


def _export(own: OwnModule, axes: Axes, example: Mapping[str, torch.Tensor]) -> Any:
    shapes = tuple(dict.fromkeys(axes.of(name), torch.export.Dim.AUTO) for name in own.inputs)
    with torch.no_grad(), evaluated(own.module), quiet(), blamed(f"{own.name}: the trace of the module"), recurrent(own.module):
        wrapped = _Call(own, axes)
        wrapped.training = False
        # Assertions are not deferred, because a size that the code takes as a number (len(x)) would be free behind them by name only; but without, the
        # trace pins the length of recurrent layers.
        defer = any(isinstance(layer, torch.nn.RNNBase) for layer in own.module.modules())
        return torch.export.export(
            wrapped, (tuple(example.values()),), dynamic_shapes=(shapes,), strict=False, prefer_deferred_runtime_asserts_over_guards=defer
        )


def _placeholders(program: Any) -> list[torch.Tensor]:
    inputs = set(program.graph_signature.user_inputs)
    return [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]


def _fixed(program: Any, own: OwnModule, axes: Axes) -> list[str]:
    """The letters whose size became a number in the trace."""
    values = dict(zip(own.inputs, _placeholders(program), strict=True))
    return [letter for letter, group in axes.letters.items() if any(_is_number(values[name].shape[axis]) for name, axis in group)]


def _is_number(size: Any) -> bool:
    return isinstance(size, int) or not size.node.expr.free_symbols


def _limits(program: Any, own: OwnModule, axes: Axes) -> dict[str, int]:
    values = dict(zip(own.inputs, _placeholders(program), strict=True))
    found = {}
    for letter, ((name, axis), *_) in axes.letters.items():
        bounds = program.range_constraints.get(values[name].shape[axis].node.expr)
        if bounds is not None and bounds.upper.is_Integer and _ends_at(own, axes, letter, int(bounds.upper)):
            found[f"max_{letter}"] = int(bounds.upper)
    return found


def _ends_at(own: OwnModule, axes: Axes, letter: str, most: int) -> bool:
    """Whether the module takes no larger size: a trace through a recurrent layer takes its own length for the largest."""
    if most > TRIED:
        return True
    try:
        own(axes.resized(own.inputs, {letter: most + 1}))
    except ModuleError:
        return True
    return False


def _to_onnx(own: OwnModule, program: Any) -> ir.Model:
    with torch.no_grad(), quiet(), blamed(f"{own.name}: its translation to ONNX"):
        traced = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, external_data=False)
    assert traced is not None
    model = traced.model
    places = {node: _place(own, node) for node in model.graph if node.op_type in ("Softmax", WHOLE)}
    passes.ClearMetadataAndDocStringPass()(model)
    for node, place in places.items():
        node.metadata_props[LAYER] = place
    model.graph.name = GRAPH
    return model


def _place(own: OwnModule, node: ir.Node) -> str:
    """The layer that a node of the trace stands in, and the line."""
    scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))[:-1]
    layer = next((scope.removeprefix("module").lstrip(".") for scope in reversed(scopes)), "") or type(own.module).__name__
    line = re.findall(r'File "([^"]+)", line (\d+)', node.metadata_props.get(STACK, ""))
    return f"{layer} ({Path(line[-1][0]).name}, line {line[-1][1]})" if line else layer


def _name(model: ir.Model, own: OwnModule, axes: Axes, outputs: list[str]) -> None:
    """Inputs, outputs and free axes under their names, which nothing else in the graph has."""
    values = [*model.graph.inputs, *model.graph.outputs]
    names = [*own.inputs, *(stored_name(name, own.inputs) for name in outputs)]
    if len(values) != len(names):
        raise ModuleError(f"{own.name}: the trace has {len(model.graph.outputs)} outputs where the module returns {len(outputs)}.")
    others = [value for node in model.graph for value in node.outputs] + list(model.graph.initializers.values())
    for value in others:
        if value.name in names and not any(value is one for one in values):
            if value.name in model.graph.initializers:
                initializer = model.graph.initializers.pop(value.name)
                initializer.name = f"{value.name}.weight"
                model.graph.initializers[initializer.name] = initializer
            else:
                value.name = f"{value.name}.value"
    for i, value in enumerate(values):
        value.name = f"zen_edge.{i}"
    for value, name in zip(values, names, strict=True):
        value.name = name
    name_axes(model, {name: axes.of(name) for name in own.inputs})
