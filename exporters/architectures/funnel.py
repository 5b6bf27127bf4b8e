"""Funnel Transformer: halves its text from block to block."""

NEAREST = "electra"


def refuse(config: object) -> str:
    return "halves its text from block to block and stretches it again, by numbers that depend on its length, which is not exported"
