"""mBART and mBART-50: translators between many languages."""

TASK = "translation"
