"""PLBART: BART for code. Texts are classified by the last of their states at </s>."""

from functools import partial

from transformers.models.plbart import modeling_plbart

from zen_edge.exporters.last_end import turning

tracing = partial(turning, module=modeling_plbart)
