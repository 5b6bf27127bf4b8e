import numpy as np
import onnx_ir as ir
import pytest

from zen_edge.exporters.fusions import arc_cosine

TEXT = "g (float[B,T] x) => (float[B,T] y) { h = Neg(x)  y = Acos(h) }"
OFF = 4e-7  # radians
ABOUT = 5e-7  # and of small angles, this much of them


@pytest.fixture
def made(fused):
    return fused(arc_cosine.apply, TEXT)


def test_the_operators(made):
    assert made.made == 1 and "Acos" not in made.ops
    assert {"Abs", "Mul", "Sub", "Sqrt", "Where", "Add", "Less", "LessOrEqual", "Neg"} == set(made.ops)


def test_exact_to_the_last_bits_of_single_precision(made):
    tiny = np.logspace(-45, 0, 20_000)
    x = np.unique(np.float32(np.concatenate([np.linspace(-1, 1, 200_001), tiny, -tiny, 1 - tiny, tiny - 1, [0.5, -0.5, np.nextafter(0.5, 1)]])))[None]
    _, (y,) = made.run(x=x)
    exact = np.arccos(-x.astype(np.float64))
    off = np.abs(y - exact)
    assert off.max() < OFF
    assert (off / np.maximum(exact, 1e-300))[exact > 0].max() < ABOUT
    assert y[0, 0] == 0 and y[0, -1] == np.float32(np.pi)


def test_no_number_outside(made):
    (old,), (new,) = made.run(x=np.float32([[np.nextafter(np.float32(1), np.float32(2)), -1.5, np.inf, np.nan]]))
    assert np.isnan(old).all() and np.isnan(new).all()


def test_doubles_stay():
    doubles = ir.Value(name="x", type=ir.TensorType(ir.DataType.DOUBLE))
    assert arc_cosine.check(ir.node("Acos", [doubles])) is None
