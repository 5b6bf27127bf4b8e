"""UMT5: T5 in many languages. Texts are classified by the last of their states at </s>."""

from zen_edge.exporters.last_end import tracing

__all__ = ["tracing"]
