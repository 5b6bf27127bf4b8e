"""MVP: BART with prompts. Its attention is BART's, written before attention functions could be registered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.models.bart.modeling_bart import BartAttention
from transformers.models.mvp.modeling_mvp import MvpAttention

from zen_edge.exporters import last_end
from zen_edge.exporters.attention import fused, replaced


def refuse(config: Any) -> str | None:
    return "puts prompts before the keys of its attention (use_prompt); without them it is exported" if config.use_prompt else None


def _attention(attention: MvpAttention, *args: Any, attn_prompt: None = None, output_attentions: bool = False, **kwargs: Any) -> Any:
    return BartAttention.forward(attention, *args, **kwargs)


@contextmanager
def tracing(model: Any) -> Iterator[None]:
    attentions = [module for module in model.modules() if isinstance(module, MvpAttention)]
    for attention in attentions:
        attention.config, attention.is_causal = model.config, attention.is_decoder
    with fused(model), replaced(attentions, _attention), last_end.tracing(model):
        yield
