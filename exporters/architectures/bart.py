"""BART: an encoder and a decoder. Texts are classified by the last of their states at </s>."""

from zen_edge.exporters.last_end import tracing

__all__ = ["tracing"]
