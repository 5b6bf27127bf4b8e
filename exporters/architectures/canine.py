"""CANINE: reads characters, four of which its middle layers take for one."""

NEAREST = "bert"


def refuse(config: object) -> str:
    return "reads characters, by a tokenizer of its own, and joins them to groups whose number depends on what is left over, which is not exported"
