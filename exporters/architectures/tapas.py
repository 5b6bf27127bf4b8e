"""TAPAS: reads tables, whose rows, columns and ranks it is told by seven kinds of token types."""

NEAREST = "bert"


def refuse(config: object) -> str:
    return "reads tables by seven kinds of token types, which texts do not have"
