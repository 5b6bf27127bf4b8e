import pytest

from zen_edge.exporters.fusions import largest_whole

TEXT = "g (float[B,T] x) => (int64[B,1] y) { m = Mul(x, scale)  n = Cast<to=6>(m)  y = ArgMax<axis=1>(n) }"


@pytest.mark.parametrize(("text", "made"), [(TEXT, 1), (TEXT.replace("to=6", "to=1"), 0)], ids=["whole", "single"])
def test_the_largest(fused, weight, text, made):
    changed = fused(largest_whole.apply, text, scale=1e8 * abs(weight(1)))  # larger than single precision holds exactly
    assert (changed.made, changed.ops) == (made, ["Mul", "Cast", *made * ["Cast"], "ArgMax"])
    assert changed.worst() == 0
