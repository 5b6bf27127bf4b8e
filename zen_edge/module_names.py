"""Names of a module's outputs: in a graph an output cannot have the name of an input, for the user it can."""

from collections.abc import Container

SUFFIX = ".out"


def stored_name(name: str, inputs: Container[str]) -> str:
    """What the output `name` is called in the graph."""
    return name + SUFFIX if name in inputs else name


def shown_name(name: str, inputs: Container[str]) -> str:
    """What the graph's output is called for the user."""
    base = name.removesuffix(SUFFIX)
    return base if base in inputs else name
