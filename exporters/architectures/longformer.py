"""Longformer: RoBERTa for long documents."""

NEAREST = "modernbert"


def refuse(config: object) -> str:
    return "attends within a sliding window, and from chosen words to all by projections of their own, which the fused operators do not do"
