"""MRA: its attention is a kernel for GPUs, in the place of which transformers answers nothing on a CPU."""

NEAREST = "bert"


def refuse(config: object) -> str:
    return "computes its attention in a kernel of its own for GPUs, without which PyTorch gives zeros"
