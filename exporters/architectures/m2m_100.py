"""M2M-100 and NLLB-200: translators between many languages."""

TASK = "translation"
