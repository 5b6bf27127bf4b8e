"""All fusions in their order, on a small pre-norm model with a tied head."""

import pkgutil

import numpy as np

from zen_edge.exporters import fusions

MODEL = """g (int64[B,S] ids, float[B,S,16] past_key_0) => (float[B,S,48] logits) <float[B,S,16] back> {
    e = Gather(E, ids)  b0 = Shape<start=0, end=1>(past_key_0)  b1 = Shape<start=0, end=1>(e)  same = Sub(b0, b1)  none = Cast<to=1>(same)  x0 = Add(e, none)
    n0 = LayerNormalization(x0, gain, shift)
    q0 = MatMul(n0, Wq)  q = Add(q0, bq)  k = MatMul(n0, Wk)  v0 = MatMul(n0, Wv)  v = Add(v0, bv)
    heads = Reshape(q, split)  back = Reshape(heads, merge)
    qk = Mul(back, k)  a0 = Add(qk, v)  a1 = MatMul(a0, Wo)  a = Add(a1, bo)
    x1 = Add(x0, a)  n1 = LayerNormalization(x1, gain, shift)
    f0 = MatMul(n1, W1)  f1 = Add(f0, bf)  s = Sigmoid(f1)  f2 = Mul(f1, s)  f3 = MatMul(f2, W2)  f = Add(f3, b2)
    x2 = Add(f, x1)  n2 = LayerNormalization(x2, gain, shift)
    t = Transpose<perm=[1, 0]>(E)  l0 = MatMul(n2, t)  logits = Add(l0, zeros) }"""


def test_every_file_is_in_the_pipeline():
    files = {module.name for module in pkgutil.iter_modules(fusions.__path__)} - {"edit", "shaped", "spelled_attention", "attention_operator"}
    spelled = (apply for *_, apply in fusions.SPELLINGS)
    assert {apply.__module__.rpartition(".")[2] for apply in (*fusions.PIPELINE, *fusions.OF_MODULES, *spelled)} == files


def test_a_pre_norm_model(changed, weight):
    counts = {}

    def fuse(model):
        counts.update(fusions.fuse(model))
        return sum(counts.values())

    weights = {name: weight(16, 16) for name in ("Wq", "Wk", "Wv", "Wo", "W1", "W2")}
    weights |= {name: weight(16) for name in ("bq", "bv", "bo", "bf", "b2", "gain", "shift")}
    weights |= {"E": weight(48, 16), "zeros": np.zeros((1, 48), np.float32), "split": np.array([0, 0, 4, 4]), "merge": np.array([0, 0, 16])}
    made = changed(fuse, MODEL, **weights)
    assert counts == {
        "zero_bias": 1, "zero_attention_bias": 0, "reshapes": 1, "packed_projections": 1, "query_scale": 0, "tied_head": 1, "activations": 1, "beam_attention": 0, "rms_normalization": 0, "fourier": 0, "candidates": 1, "repeated_shapes": 1,
    }  # fmt: skip
    assert made.ops == [
        "Gather", "Shape", "Sub", "Cast", "Add", "LayerNormalization", "MatMul", "Add", "Split", "Mul", "Add", "MatMul", "Add", "Add", "LayerNormalization",
        "MatMul", "Add", "microsoft.QuickGelu", "MatMul", "Add", "Add", "LayerNormalization", "microsoft.FusedMatMul", "TopK", "If",
    ]  # fmt: skip
    for batch, length in ((1, 1), (3, 1), (2, 7)):
        random = np.random.default_rng(length)
        feeds = {"ids": random.integers(0, 48, (batch, length)), "past_key_0": random.standard_normal((batch, length, 16)).astype(np.float32)}
        (old,) = made.before.run(["logits"], feeds)
        new, top = made.after.run(["logits", "top_ids"], feeds | {"top_k": np.array([1]), "want_log_sum_exp": np.array(False)})
        assert np.abs(old - new).max() < 1e-4
        assert np.array_equal(top[..., 0], old.argmax(-1))


def test_what_is_for_a_cpu_is_left_out_for_cuda(changed):
    """A vocabulary that the CPU would take in chunks; beams over long inputs, which it takes one row at a time; normalization by groups, which CUDA has no kernel for."""
    text = """g (float[B,G,512] q, float[B,8,T,64] keys, float[B,8,T,64] values, float[R,4,S] w, float[R,S,4104] x, float[P] past_key_0)
        => (float[B,G,512] y, float[R,S,4104] logits, float[R,4,S] n) {
        y = com.microsoft.MultiHeadAttention<num_heads=8, scale=1.0>(q, keys, values)  logits = Neg(x)  n = GroupNormalization<num_groups=2>(w, one, zero) }"""
    weights = {"one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32)}
    ops = {
        device: changed(lambda model, device=device: fusions.fuse(model, device=device)["candidates"], text, **weights).ops
        for device in ("cpu", "cuda")
    }
    assert {"If", "GatherND", "ReduceMax", "GroupNormalization"} <= set(ops["cpu"]) and ops["cpu"].count("If") == 2
    assert ops["cuda"].count("If") == ops["cuda"].count("TopK") == 1 and "GatherND" not in ops["cuda"]
    assert "microsoft.MultiHeadAttention" in ops["cuda"] and "InstanceNormalization" in ops["cuda"] and "GroupNormalization" not in ops["cuda"]
