"""The table of CUDA kernels that exports and `zen-edge inspect --device cuda` choose by: zen_edge/data/cuda_kernels.json, made from ONNX Runtime's list.

    python -m zen_edge.benchmarks.cuda_kernels OperatorKernels.md --version 1.25.0 --commit 735e69a39 [--ask]

OperatorKernels.md: docs/OperatorKernels.md of microsoft/onnxruntime, which its build writes from the kernels it has registered. `--ask` puts every row from opset 13 on, and every
later version of its operator, to the installed ONNX Runtime: a graph of one node for each type, of which its CUDA provider takes what it has a kernel for. It needs onnxruntime-gpu
and what lets that start; where the list is older than the release, it is the release that is believed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from zen_edge.graphs import RENAMED

PROVIDER = "CUDAExecutionProvider"
TABLE = Path(__file__).parent.parent / "zen_edge" / "data" / "cuda_kernels.json"
FIRST_ASKED, LAST_ASKED = 13, 24  # opsets
ASKED_TYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool")
NUMBERS = {RENAMED.get(name.lower(), name.lower()): number for name, number in TensorProto.DataType.items()}
VARIABLE = re.compile(r"\*\*(\w+)\*\* = ([^<*]+)")
PARAMETER = re.compile(r"\*(in|out)\* (\w+)[.]*:\*\*([^*]+)\*\*")
TENSOR = re.compile(r"(?<![(\w])tensor\((\w+)\)")


@dataclass(frozen=True)
class Row:
    """Kernels for the versions first to last of an operator (last None: for first alone), with the types that each variable may have."""

    first: int
    last: int | None
    types: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Operator:
    """inputs, outputs: the variable of each, or its type where it has but one."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[Row, ...]


def read_list(text: str, provider: str = PROVIDER) -> dict[str, Operator]:
    """{"Add" or "com.microsoft::BiasGelu": Operator}; ValueError for a text without a part for `provider`."""
    _, found, part = text.partition(f"## Operators implemented by {provider}\n")
    if not found:
        raise ValueError(f"no list of operators implemented by {provider}")
    operators: dict[str, Operator] = {}
    domain = name = ""
    for line in part.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|||") else line.strip("|").split("|")
        if line.startswith("|**Operator Domain:**"):
            domain = re.sub(r".*\*([\w.]+)\*$", r"\1", cells[0])
        elif domain in ("ai.onnx", "com.microsoft") and len(cells) >= 2 and re.search(r"\d", cells[-2]):
            row = _row(cells[-2], cells[-1])
            if not line.startswith("|||"):
                name = cells[0] if domain == "ai.onnx" else f"{domain}::{cells[0]}"
                operators[name] = Operator(*_parameters(cells[1], row.types), ())
            operators[name] = replace(operators[name], rows=(*operators[name].rows, row))
    return operators


def _row(versions: str, types: str) -> Row:
    numbers = [int(number) for number in re.findall(r"\d+", versions)]
    last = None if versions.strip().endswith("+") else numbers[-1]
    read = {name: tuple(RENAMED.get(word, word) for word in TENSOR.findall(listed)) for name, listed in VARIABLE.findall(types)}
    return Row(numbers[0], last, {name: listed for name, listed in read.items() if listed})


def _parameters(text: str, types: dict[str, tuple[str, ...]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the ways in which an operator's versions name their parameters, the one whose variables the newest row has, the longest and plainest of these."""
    ways = [PARAMETER.findall(way) for way in text.split("<br><br>or<br><br>")]
    known = [way for way in ways if all(kind in types or kind.startswith("tensor(") for _, _, kind in way)] or ways
    way = max(known, key=lambda way: (len(way), sum(kind.startswith("tensor(") for _, _, kind in way)))

    def words(side: str) -> tuple[str, ...]:
        return tuple(RENAMED.get(word := kind.removeprefix("tensor(").removesuffix(")"), word) for where, _, kind in way if where == side)

    return words("in"), words("out")


def ask(operators: dict[str, Operator]) -> dict[str, Operator]:
    """The same as the installed ONNX Runtime has them, for ONNX's operators from opset 13 on: those too that the list lacks."""
    others = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""} - set(operators)
    every = operators | dict.fromkeys(sorted(others), Operator((), (), ()))
    asked = {name: operator if "::" in name else _asked(name, operator) for name, operator in every.items()}
    return {name: operator for name, operator in asked.items() if operator.rows}


def _asked(name: str, operator: Operator) -> Operator:
    versions = sorted(s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == "" and s.name == name and not s.deprecated)
    versions = [version for version in versions if version <= LAST_ASKED]
    rows = tuple(_asked_rows(name, operator, versions))
    if rows == operator.rows:
        return operator
    newest = onnx.defs.get_schema(name, max_inclusive_version=LAST_ASKED)
    sides = (
        tuple(RENAMED.get(word := part.type_str.removeprefix("tensor(").removesuffix(")"), word) for part in side)
        for side in (newest.inputs, newest.outputs)
    )
    return Operator(*sides, rows)


def _asked_rows(name: str, operator: Operator, versions: Sequence[int]) -> Iterator[Row]:
    served = {}
    for since in versions:
        following = min((later for later in versions if later > since), default=LAST_ASKED + 1)
        if following > FIRST_ASKED:
            schema = onnx.defs.get_schema(name, max_inclusive_version=since)
            served[since] = _served(schema, max(since, FIRST_ASKED))
    if not versions or not any(served.values()):  # ONNX Runtime's own, or one that a single node cannot ask for
        yield from operator.rows
        return
    rows: list[Row] = []
    for since in sorted(served):
        if rows and rows[-1].types == served[since]:
            rows[-1] = replace(rows[-1], last=since)
        elif served[since]:
            rows.append(Row(since, since, served[since]))
    yield from reversed(rows)
    yield from (row for row in operator.rows if row.last is not None and row.last < min(served))


def _served(schema: Any, opset: int) -> dict[str, tuple[str, ...]]:
    """{variable: the types that the provider takes a node with, alone or in all variables that may have it}, {} where it takes none."""
    variables = {part.type_str: part.types for part in (*schema.inputs, *schema.outputs) if not part.type_str.startswith(("tensor(", "seq("))}
    offered = {}
    for variable, allowed in variables.items():
        words = {RENAMED.get(word, word) for kind in allowed for word in TENSOR.findall(kind)}
        offered[variable] = [word for word in ASKED_TYPES if word in words]
    if not all(offered.values()):
        return {}
    usual = {variable: "float32" if "float32" in words else words[0] for variable, words in offered.items()}

    def asked(variable: str, word: str) -> bool:
        everywhere = {other: word if word in words else usual[other] for other, words in offered.items()}
        return any(taken(_one_node(schema, types, opset)) for types in ({**usual, variable: word}, everywhere))

    found = {variable: tuple(word for word in words if asked(variable, word)) for variable, words in offered.items()}
    return found if all(found.values()) else {}


def _one_node(schema: Any, types: dict[str, str], opset: int) -> onnx.ModelProto:
    """A graph whose one node is the operator with types for its variables."""

    def number(part: Any) -> int:
        word = types.get(part.type_str) or TENSOR.findall(next(iter(sorted(part.types))))[0]
        return NUMBERS[RENAMED.get(word, word)]

    required = {"INT": 1, "FLOAT": 1.0, "STRING": "", "INTS": [1], "FLOATS": [1.0]}
    attributes: dict[str, Any] = {a.name: required[a.type.name] for a in schema.attributes.values() if a.required and a.type.name in required}
    outputs = [part for part in schema.outputs if part.option.name != "Optional"]
    if schema.name == "If":
        value = helper.make_tensor_value_info("v", number(outputs[0]), None)
        for i, branch in enumerate(("then_branch", "else_branch")):
            made = helper.make_tensor_value_info(f"v{i}", number(outputs[0]), None)
            attributes[branch] = helper.make_graph([helper.make_node("Identity", ["v"], [made.name])], branch, [], [made])
    elif schema.name == "Cast":
        attributes["to"] = number(outputs[0])
    elif schema.name == "ConstantOfShape":
        attributes["value"] = helper.make_tensor("value", number(outputs[0]), [1], [1])
    given = [part for part in schema.inputs if part.option.name != "Optional"]
    inputs = [helper.make_tensor_value_info(f"x{i}", number(part), None) for i, part in enumerate(given)]
    node = helper.make_node(schema.name, [value.name for value in inputs], [f"y{i}" for i in range(len(outputs))], **attributes)
    results = [helper.make_tensor_value_info(f"y{i}", number(part), None) for i, part in enumerate(outputs)]
    graph = helper.make_graph([node], "g", [*inputs, *([value] if schema.name == "If" else [])], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def taken(model: onnx.ModelProto) -> bool:
    """Whether the provider takes the first node of `model`; False for one that ONNX Runtime does not take at all."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=list(dict.fromkeys([PROVIDER, "CPUExecutionProvider"])))
    except Exception as error:  # no kernel of any provider, or a node that cannot be built so
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        return False
    if PROVIDER not in session.get_providers():
        raise RuntimeError(f"this ONNX Runtime does not start its {PROVIDER}")
    parts = session.get_provider_graph_assignment_info()
    return any(part.ep_name == PROVIDER and any(node.op_type == model.graph.node[0].op_type for node in part.get_nodes()) for part in parts)


def to_json(operators: dict[str, Operator], about: dict[str, str | None]) -> str:
    """One operator a line, its rows from the newest."""
    lines = []
    for name, operator in sorted(operators.items()):
        rows = [[row.first, row.last, {variable: " ".join(types) for variable, types in row.types.items()}] for row in operator.rows]
        entry = json.dumps({"inputs": operator.inputs, "outputs": operator.outputs, "rows": rows})
        lines.append(f"{json.dumps(name)}: {entry}")
    return '{"about": ' + json.dumps(about) + ',\n"kernels": {\n' + ",\n".join(lines) + "\n}}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="zen_edge.benchmarks.cuda_kernels", description="Make the table of CUDA kernels.")
    parser.add_argument("list", type=Path, help="docs/OperatorKernels.md of microsoft/onnxruntime")
    parser.add_argument("--version", required=True, help="of ONNX Runtime that the list is of")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--ask", action="store_true", help="put every row to the installed onnxruntime-gpu")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args(arguments)
    operators = read_list(given.list.read_text("utf-8"))
    about: dict[str, str | None] = {
        "list": "docs/OperatorKernels.md of microsoft/onnxruntime",
        "version": given.version,
        "commit": given.commit,
        "asked": None,
    }
    if given.ask:
        import onnxruntime

        operators, about["asked"] = ask(operators), onnxruntime.__version__
    given.out.write_text(to_json(operators, about), "utf-8")


if __name__ == "__main__":
    main()
