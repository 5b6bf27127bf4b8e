"""Bundles beside other engines in one run: speed, memory, size and quality.

bench.py reads as the sentence of the room: contestants -> inputs -> measure -> report. One file per engine in engines/, one per saved case in cases/.
"""
