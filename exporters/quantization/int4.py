"""int4: weights of 4 bits in blocks of 32."""

from zen_edge.exporters.quantization.blocks import Blocks

BLOCKS = Blocks(bits=4, size=32, factors=(1.0, 0.95, 0.9, 0.85, 0.8, 1.05, 1.1, 1.15))
apply = BLOCKS.apply
