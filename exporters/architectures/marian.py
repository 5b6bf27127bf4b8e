"""Marian: OPUS-MT and its kin are translators."""

TASK = "translation"
