"""Maps of a module of one's own: its weights are PyTorch's, fused or written out, in whatever layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

import zen_edge
from zen_edge.check_attention import compare_weights
from zen_edge.cli import app
from zen_edge.errors import InputError, OptionError, UnsupportedModelError, ZenEdgeError
from zen_edge.exporters.own_module import load_factory

WIDTH = 32


def arrays(B=2, S=4, T=9):
    random = np.random.default_rng(3)
    query, key = (random.standard_normal((B, size, WIDTH)).astype(np.float32) for size in (S, T))
    mask = np.ones((B, T), np.int64)
    mask[1, T // 2 :] = 0
    return {"query": query, "key": key, "mask": mask}


@pytest.fixture(scope="module")
def attending(heads_bundle, keep_attention):
    return keep_attention(heads_bundle)


def test_the_weights_are_pytorchs(attending, factory):
    own, given = load_factory(factory("heads")), arrays()
    seen: list[torch.Tensor] = []
    own.module.dropout.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    own({name: torch.from_numpy(value) for name, value in given.items()})
    with zen_edge.load(attending, threads=1) as pipeline:
        found = [pipeline.attend(**given, row=row) for row in (0, 1)]
        assert all(np.allclose(one.weights["cross"][0], weights, atol=1e-6) for one, weights in zip(found, seen[0].numpy(), strict=True))
        assert found[0].weights["cross"].shape == (1, 4, 4, 9)
        assert not found[1].weights["cross"][..., 4:].any()
        assert found[0].chosen(head=2).rows == ("0", "1", "2", "3")
        assert found[0].chosen().columns == tuple("012345678")
        assert pipeline(given).keys() == {"states", "query"}
        for row in (2, -1, True, None):
            with pytest.raises(OptionError, match="rows 0 to 1"):
                pipeline.attend(given, row=row)
        with pytest.raises(InputError, match="the input 'mask' is missing"):
            pipeline.attend(query=given["query"], key=given["key"])


def test_the_command(attending, heads_bundle, tmp_path):
    np.savez(tmp_path / "in.npz", **arrays())

    def zen(*words):
        return CliRunner().invoke(app, ["attend", *map(str, words)])

    for name, begins in (("map.png", b"\x89PNG"), ("map.html", b"<!doctype html>")):
        done = zen(attending, tmp_path / "in.npz", "-o", tmp_path / name, "--row", 1, "--head", 3)
        assert (done.exit_code, done.stdout) == (0, "")
        assert (tmp_path / name).read_bytes().startswith(begins)
    for bundle, words, message in (
        (attending, ("--row", 5), "rows 0 to 1"),
        (attending, ("--num-beams", 2), "takes no option 'num_beams'"),
        (heads_bundle, (), "export it again with --with-attention"),
    ):
        done = zen(bundle, tmp_path / "in.npz", "-o", tmp_path / "other.png", *words)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert message in done.stderr
    assert not (tmp_path / "other.png").exists()


def test_the_nearest_softmax_is_compared_and_none_twice():
    random = np.random.default_rng(0)
    first, second = (random.dirichlet(np.ones(5), (2, 3, 4)).astype(np.float32) for _ in range(2))
    found = {"cross": np.stack([first, second], 1)}
    seen = [random.dirichlet(np.ones(9), (2,)), second.reshape(6, 4, 5), first]
    (row,) = compare_weights(found, seen, "fp32")
    assert (row.name, row.max_abs) == ("attention.cross", 0)
    (row,) = compare_weights({"cross": np.stack([first, first], 1)}, seen, "fp32")
    assert not row.passed
    with pytest.raises(UnsupportedModelError, match=r"no softmax with the \[2, 3, 4, 5\] weights"):
        list(compare_weights(found, seen[:2], "fp32"))


class Returned(nn.Module):
    def forward(self, x):
        weights = torch.softmax(x @ x.transpose(1, 2), -1)
        return {"states": weights @ x, "weights": weights}


class Additive(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 1)

    def forward(self, query, memory, mask):
        scores = self.v(torch.tanh(self.q(query)[:, None] + self.k(memory)))[..., 0]
        return (torch.softmax(scores.masked_fill(mask == 0, float("-inf")), -1)[..., None] * memory).sum(1)


class Unbatched(nn.Module):
    def forward(self, query, key):
        return torch.softmax(query @ key.T, -1) @ key


class KeysFirst(nn.Module):
    def forward(self, query, key):
        return (torch.softmax(key @ query.transpose(1, 2), 1).transpose(1, 2) * 2) @ key


class Whole(nn.Module):
    def forward(self, query, key, mask):
        return F.scaled_dot_product_attention(query, key, key, attn_mask=mask)


def whole():
    mask = torch.ones(2, 1, 3, 5).bool()
    mask[0, 0, 0], mask[1, 0, :, 3:] = False, False  # a row that sees no key, and padding
    return Whole(), (torch.randn(2, 4, 3, 8), torch.randn(2, 4, 5, 8), mask)


OTHERS = {
    "returned": (lambda: (Returned(), (torch.randn(2, 3, 8),)), {"self": (1, 1, 3, 3)}),
    "additive": (
        lambda: (Additive(), (torch.randn(2, 16), torch.randn(2, 6, 16), torch.tensor([[1] * 4 + [0] * 2, [1] * 6]))),
        {"cross": (1, 1, 1, 6)},
    ),
    "unbatched": (lambda: (Unbatched(), (torch.randn(3, 8), torch.randn(5, 8))), {"cross": (1, 1, 3, 5)}),
    "keys first": (lambda: (KeysFirst(), (torch.randn(2, 3, 8), torch.randn(2, 5, 8))), {"cross": (1, 1, 3, 5)}),
    "whole": (whole, {"cross": (1, 1, 3, 5)}),  # an axis of heads that is free is rows
    "transformer": (
        lambda: (nn.Transformer(WIDTH, 4, 2, 2, batch_first=True), (torch.randn(2, 5, WIDTH), torch.randn(2, 7, WIDTH))),
        {"self": (2, 4, 5, 5), "self-2": (2, 4, 7, 7), "cross": (2, 4, 7, 5)},
    ),
}


@pytest.mark.sweep  # a trace each
@pytest.mark.parametrize("name", OTHERS)
def test_others_are_compared_with_pytorch(name, tmp_path):
    make, shapes = OTHERS[name]
    torch.manual_seed(0)
    module, inputs = make()
    made = zen_edge.export(module, tmp_path / "fp32", example_inputs=inputs, with_attention=True)
    compared = [row for row in made.manifest.parity["outputs"] if row["name"].startswith("attention.")]
    assert {row["name"].split(",")[0] for row in compared} == {f"attention.{kind}" for kind in shapes}
    assert max(row["max_abs"] for row in compared) < 1e-6
    given = {tensor.name: value.numpy() for tensor, value in zip(made.manifest.graph("module").inputs, inputs, strict=True)}
    with zen_edge.load(made.path, threads=1) as pipeline:
        seen = pipeline.attend(given)
    assert {kind: weights.shape for kind, weights in seen.weights.items()} == shapes
    small = zen_edge.quantize(made.path, tmp_path / "int8", precision="int8")
    report = zen_edge.parity(small.path, module, inputs=dict(zip(given, inputs, strict=True)))
    assert report.passed
    assert any(row.name.startswith("attention.") for row in report.outputs)


@pytest.mark.sweep
def test_verification_sees_other_weights(attending, factory, vouch, tmp_path):
    import shutil

    folder = tmp_path / "wrong"
    shutil.copytree(attending, folder)
    part = (folder / "module.attention").read_bytes()
    assert part.count(b"linear_1") == 1
    (folder / "module.attention").write_bytes(part.replace(b"linear_1", b"linear_2"))  # values in the place of keys
    vouch(folder, "module.attention")
    report = zen_edge.parity(folder, factory("heads"))
    assert {row.name.split(",")[0] for row in report.outputs if not row.passed} == {"attention.cross"}


@pytest.mark.sweep
def test_a_module_that_does_not_attend_is_refused(tmp_path):
    with pytest.raises(ZenEdgeError, match="has no attention, of which a map could be drawn: leave out --with-attention"):
        zen_edge.export(nn.Sequential(nn.Linear(4, 4), nn.Softmax(-1)), tmp_path / "out", example_inputs=(torch.randn(2, 4),), with_attention=True)
    assert not list(tmp_path.iterdir())
