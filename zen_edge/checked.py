"""JSON that anyone may have written: every value is checked before use, and told in one line that is safe to print."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NoReturn, TypeVar

from zen_edge.errors import BundleError

T = TypeVar("T")

LARGEST = 2**53  # integers beyond it change their value in other JSON readers
DEPTH = 16
LONGEST_TEXT = 64 * 1024


def printable(text: str) -> str:
    """`text` with every control, line-breaking or half character as its escape, so that it cannot break a line or a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(value: object) -> str:
    """A short name for a value of any kind or size."""
    match value:
        case str():
            return repr(value if len(value) <= 80 else value[:77] + "...")
        case dict():
            return f"an object of {len(value)} keys"
        case list():
            return f"a list of {len(value)} items"
    return json.dumps(value)[:80]


def parse(data: bytes, name: str) -> Any:
    """JSON without what other readers take differently: keys twice, NaN, numbers or nesting without bound."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) != len(items):
            raise ValueError("a key is written twice")
        return table

    def constant(word: str) -> NoReturn:
        raise ValueError(f"{word} is not a JSON number")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "nested too deeply" if isinstance(error, RecursionError) else printable(str(error))[:160]
        raise BundleError(f"{name} is not valid JSON ({reason}); export the bundle again") from None


def dump(value: Any, indent: str = "") -> str:
    """JSON with sorted keys: what fits a line of 140 characters stands on one line. ValueError for NaN, TypeError for what is not JSON."""
    line = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list | tuple) or len(indent) + len(line) <= 140:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(str(key), ensure_ascii=False)}: {dump(item, inner)}" for key, item in sorted(value.items())]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + dump(item, inner) for item in value) + f"\n{indent}]"


@dataclass(frozen=True)
class Value:
    """A JSON value and where it stands, for instance `zen-edge.json: graphs[0].parameters`. Every reading raises BundleError if it is wrong."""

    value: Any
    where: str

    def expected(self, what: str) -> NoReturn:
        raise BundleError(f"{self.where} should be {what} and is {quoted(self.value)}; export the bundle again")

    def record(self, kind: type, newer: tuple[str, ...] = ()) -> dict[str, "Value"]:
        """An object with exactly the keys that the dataclass `kind` has fields. newer: those that older versions do not write."""
        table, names = self.table(), [field.name for field in fields(kind)]
        for name in names:
            if name not in table and name not in newer:
                raise BundleError(f"{self.where} lacks the key {name!r}; export the bundle again")
        for name in table:
            if name not in names:
                raise BundleError(f"{self.where} has a key {quoted(name)} that this version does not know; export the bundle again")
        return table

    def table(self) -> dict[str, "Value"]:
        if not isinstance(self.value, dict):
            self.expected("an object")
        return {key: Value(item, f"{self.where}.{key}" if key.isidentifier() and key.isascii() and len(key) <= 80 else f"{self.where}[{quoted(key)}]")
                for key, item in self.value.items()}  # fmt: skip

    def items(self, limit: int) -> tuple["Value", ...]:
        if not isinstance(self.value, list) or len(self.value) > limit:
            self.expected(f"a list of at most {limit} items")
        return tuple(Value(item, f"{self.where}[{i}]") for i, item in enumerate(self.value))

    def integer(self, low: int = 0, high: int = LARGEST) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            self.expected(f"an integer from {low} to {high}")
        return int(self.value)

    def text(self, pattern: str = "", limit: int = 512) -> str:
        """One printable line, of the form of the regular expression `pattern` if one is given."""
        if not isinstance(self.value, str) or len(self.value) > limit or not self.value.isprintable():
            self.expected(f"a line of at most {limit} printable characters")
        if pattern and not re.fullmatch(pattern, self.value):
            self.expected(f"text of the form {pattern}")
        return str(self.value)

    def choice(self, options: tuple[str, ...]) -> str:
        if not isinstance(self.value, str) or self.value not in options:
            self.expected("one of " + ", ".join(options))
        return self.value

    def optional(self, read: Callable[["Value"], T]) -> T | None:
        return None if self.value is None else read(self)

    def free(self) -> dict[str, Any]:
        """An object of any shape, within bounds of depth, text and numbers."""
        self.table()
        self._bounded(DEPTH)
        return dict(self.value)

    def _bounded(self, depth: int) -> None:
        if depth == 0:
            self.expected(f"nested at most {DEPTH} deep")
        match self.value:
            case bool() | None:
                pass
            case int():
                self.integer(-LARGEST)
            case float() if not math.isfinite(self.value):
                raise BundleError(f"{self.where} is a number out of range; export the bundle again")
            case str():
                if len(self.value) > LONGEST_TEXT or any("\ud800" <= c <= "\udfff" for c in self.value):
                    self.expected(f"text of at most {LONGEST_TEXT} whole characters")
            case list():
                for item in self.items(len(self.value)):
                    item._bounded(depth - 1)
            case dict():
                for key, item in self.table().items():
                    Value(key, f"{self.where}, a key").text()
                    item._bounded(depth - 1)
