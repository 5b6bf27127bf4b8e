import numpy as np
import pytest

from zen_edge.exporters.fusions import expansions

TEXT = "g (float[B,T,1] x) => (float[B,T,3] y) { seen = Cast<to=9>(x)  all = Tile(seen, times)  y = Cast<to=1>(all) }"


@pytest.mark.parametrize(
    ("text", "times", "op"),
    [
        (TEXT, [1, 1, 3], "Expand"),
        (TEXT.replace("B,T,3", "B,U,3"), [1, 2, 3], "Tile"),
        (TEXT.replace("to=9", "to=7"), [1, 1, 3], "Tile"),
    ],
    ids=["of one", "of several", "of numbers"],
)
def test_repeated_truth(fused, text, times, op):
    made = fused(expansions.apply, text, times=np.array(times))
    assert (made.made, made.ops) == (op == "Expand", ["Cast", op, "Cast"])
    assert made.worst() == 0
