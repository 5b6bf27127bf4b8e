"""Recognizers with one output for every frame of sound (connectionist temporal classification, Graves et al. 2006)."""
