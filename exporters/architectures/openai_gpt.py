"""GPT: cuts its masks from a table of all positions as GPT-Neo does, and one token less fits for the same reason."""

from zen_edge.exporters.architectures.gpt_neo import limits

__all__ = ["limits"]
