"""mBART and mBART-50: translators between many languages. Texts are classified by the last of their states at </s>."""

from functools import partial

from transformers.models.mbart import modeling_mbart

from zen_edge.exporters.last_end import turning

TASK = "translation"
NOTE = "taken for translation, as most mBART checkpoints are; give --task for another"
tracing = partial(turning, module=modeling_mbart)
