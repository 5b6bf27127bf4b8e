import numpy as np
import pytest

from zen_edge.exporters.fusions import fourier

TEXT = """g (float[B,T,24] x) => (float[B,T,24] y, float[B,T,24] z) {
    u = Unsqueeze(x, last)  s = Shape(u)  o = Expand(none, s)  c = Concat<axis=-1>(u, o)
    d = DFT<inverse=0, onesided=0>(c, , two)  e = DFT<inverse=0, onesided=0>(d, , one)  y = Gather<axis=3>(e, first)
    v = Unsqueeze(y, last)  r = Shape(v)  p = Expand(none, r)  f = Concat<axis=3>(v, p)
    h = DFT<inverse=0, onesided=0>(f, , one)  i = DFT<inverse=0, onesided=0>(h, , two)  z = Gather<axis=-1>(i, first) }"""
WEIGHTS = {"last": np.array([-1]), "none": np.float32(0), "one": np.array(1), "two": np.array(2), "first": np.array(0)}
WAVES = ["Range", "Unsqueeze", "Mul", "Mod", "Div", "Mul", "Cos", "Cast", "Sin", "Cast"]
PRODUCTS = ["MatMul", "MatMul", "MatMul", "MatMul", "Sub"]
OFF = 1e-6  # of the largest number


def test_two_layers_share_their_waves(fused):
    made = fused(fourier.apply, TEXT, **WEIGHTS)
    assert (made.made, made.ops) == (2, ["Shape", "Squeeze", "Cast", *WAVES, *WAVES, *PRODUCTS, *PRODUCTS])


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 2), (3, 7), (2, 97), (1, 512)])
def test_exact_to_the_rounding_of_single_precision(fused, batch, length):
    made = fused(fourier.apply, TEXT, **WEIGHTS)
    x = np.random.default_rng(length).standard_normal((batch, length, 24)).astype(np.float32)
    _, found = made.run(x=x)
    exact = x.astype(np.float64)
    for layer in found:
        exact = np.fft.fftn(exact, axes=(1, 2)).real
        assert np.abs(layer - exact).max() < OFF * np.abs(exact).max()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("DFT<inverse=0, onesided=0>(c", "DFT<inverse=1, onesided=0>(c"),
        ("e = DFT<inverse=0, onesided=0>(d, , one)", "e = Relu(d)"),
        ("e = DFT<inverse=0, onesided=0>(d, , one)", "e = DFT<inverse=0, onesided=0>(d, , two)"),
        ("y = Gather<axis=3>(e, first)", "y = Gather<axis=3>(e, second)"),
        ("o = Expand(none, s)", "o = Neg(u)"),
    ],
    ids=["backwards", "one axis", "one axis twice", "imaginary", "of complex numbers"],
)
def test_what_is_no_such_transform_stays(fused, was, now):
    assert was in TEXT
    made = fused(fourier.apply, TEXT.replace(was, now), **WEIGHTS, second=np.array(1))
    assert made.made == 1 and made.ops.count("DFT") >= 1
