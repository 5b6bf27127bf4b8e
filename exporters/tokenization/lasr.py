"""LASR's word pieces, which are told as Parakeet's are."""

from zen_edge.exporters.tokenization.parakeet import save

__all__ = ["save"]
CLASS = "LasrTokenizer"
