"""Reformer: attends to words whose hashes are alike."""

NEAREST = "modernbert"


def refuse(config: object) -> str:
    return "attends to words whose hashes, by random numbers, are alike, which is not exported"
