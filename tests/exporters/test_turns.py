"""A large checkpoint is mapped once, and gives its memory up while its bundle runs."""

from pathlib import Path

import pytest
import torch

from zen_edge import check
from zen_edge.errors import CheckpointError
from zen_edge.exporters import mapped_once, turns
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.runtimes import memory
from zen_edge.runtimes.large_session import LargeSession


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(mapped_once, "LARGE", 0)
    monkeypatch.setattr(memory, "LARGE", 0)
    monkeypatch.setattr(mapped_once, "SMALL", 2**10)


@pytest.fixture(scope="module")
def folder(tiny_marian, save_tokenizer_of, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_marian(d_model=32, encoder_layers=1, decoder_layers=1).save_pretrained(folder)
    save_tokenizer_of(folder)
    return folder


def mapped(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


def large(model: torch.nn.Module) -> list[torch.Tensor]:
    """Those of the file."""
    return [tensor for name, tensor in model.named_parameters() if not mapped_once.is_small(tensor) and "embed_positions" not in name]


def test_nothing_stays_mapped_in_the_bundles_turn_and_everything_comes_back(folder):
    checkpoint = load_checkpoint(folder)
    expected, calls = checkpoint.weights_hash(), []
    with turns.in_turns(checkpoint.model, lambda: calls.append("rest")) as begin:
        assert mapped(folder) == 1
        begin()
        assert mapped(folder) == 0
        assert all(tensor.isnan().all() for tensor in large(checkpoint.model))  # nothing can be computed with them unseen
        begin()
        assert checkpoint.weights_hash() == expected
        assert calls == ["rest"]
        assert mapped(folder) == 1
        begin()
    assert checkpoint.weights_hash() == expected


def test_files_may_be_replaced_meanwhile(folder, tmp_path):
    (copy := tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    checkpoint = load_checkpoint(copy)
    expected = checkpoint.weights_hash()
    with turns.in_turns(checkpoint.model, lambda: None) as begin:
        begin()
        (copy / "model.safetensors").unlink()
        (copy / "model.safetensors").write_bytes(b"other")
    assert checkpoint.weights_hash() == expected


def test_what_was_changed_is_kept_as_it_is(folder):
    checkpoint = load_checkpoint(folder)
    with torch.no_grad():
        large(checkpoint.model)[0].mul_(1.1)
    expected = checkpoint.weights_hash()
    with turns.in_turns(checkpoint.model, lambda: None) as begin:
        begin()
    assert checkpoint.weights_hash() == expected


def test_what_was_written_is_told_from_what_lies_beside_it(tmp_path, monkeypatch):
    def mapped(start: int, place: str, anonymous: int, swap: int) -> str:
        return f"{start:x}-{start + 4096:x} rw-p 00001000 fe:00 {place}\nRss: 4 kB\nAnonymous: {anonymous:>15} kB\nKSM: 0 kB\nSwap: {swap:>15} kB\nVmFlags: rd\n"

    (told := tmp_path / "smaps").write_text(
        mapped(0x1000, "12 /weights", 0, 0)
        + mapped(0x2000, "12 /weights", 4, 0)
        + mapped(0x3000, "0 ", 0, 0)  # memory of no file that nobody has touched
        + mapped(0x4000, "12 /weights", 0, 8)
        + mapped(0x5000, "0 [heap]", 0, 0)
        + mapped(0x6000, "13 /other name", 0, 0)
    )
    monkeypatch.setattr(turns, "MAPPED", told)
    assert list(turns.unchanged()) == [turns.Region(0x1000, 0x2000, 0x1000, "/weights"), turns.Region(0x6000, 0x7000, 0x1000, "/other name")]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_held_as_it_was_stored(folder, half):
    model = load_checkpoint(folder).model
    for tensor in large(model):
        tensor.data = tensor.to(half).float()
    expected = [tensor.clone() for tensor in large(model)]
    first = large(model)[0]
    assert turns.halved(first).numbers.dtype == half
    assert turns.halved(first + 1e-7) is None
    with turns.in_turns(model, lambda: None) as begin:
        begin()
        assert all(tensor.isnan().all() for tensor in large(model))
    assert all(map(torch.equal, large(model), expected))


@pytest.mark.parametrize("size", [4, 100, 100_000])
def test_a_truncated_file_is_refused(folder, tmp_path, size):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:size])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_checkpoint(tmp_path)


@pytest.mark.sweep
def test_a_bundle_is_verified_in_turns(demo_fp32, demo_checkpoint, monkeypatch):
    closed = []
    rest = LargeSession.rest
    monkeypatch.setattr(LargeSession, "rest", lambda session: (closed.append(session.name), rest(session)))
    checkpoint = load_checkpoint(demo_checkpoint)
    expected = checkpoint.weights_hash()
    report = check.verify(demo_fp32, checkpoint)
    assert report.passed, report.failures
    assert {"encoder.onnx", "decoder.onnx"} <= set(closed)
    assert checkpoint.weights_hash() == expected
