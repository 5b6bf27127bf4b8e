"""mBART and mBART-50: translators between many languages."""

TASK = "translation"
NOTE = "taken for translation, as most mBART checkpoints are; give --task for another"
