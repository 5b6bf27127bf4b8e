"""Perceiver: reads bytes."""

NEAREST = "bert"


def refuse(config: object) -> str:
    return "reads bytes, by a tokenizer of its own, which is not exported"
