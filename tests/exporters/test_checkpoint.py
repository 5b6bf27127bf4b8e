"""Checkpoints in every file format load the same; what cannot be loaded says why in one line, and nothing in it is run."""

import json
import pickle
import time
from pathlib import Path
from shutil import copytree

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, GPT2Config

from zen_edge.errors import CheckpointError, UnsupportedModelError, ZenEdgeError
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.reference import Reference


@pytest.fixture(scope="module")
def model(tiny_marian):
    """Weights that every format holds exactly."""
    made = tiny_marian(d_model=32, encoder_layers=1, decoder_layers=1)
    with torch.no_grad():
        for name, weights in made.named_parameters():
            if "embed_positions" not in name:  # computed where they are not saved
                weights.copy_(weights.bfloat16().half())
    return made


@pytest.fixture(scope="module")
def saved(model, save_tokenizer_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    save_tokenizer_of(folder)
    return folder


@pytest.fixture(scope="module")
def expected_hash(saved):
    return load_checkpoint(saved).weights_hash()


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return copytree(saved, tmp_path / "checkpoint")


def change_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(model, kind: type[ZenEdgeError] = CheckpointError) -> str:
    """The one line that `load_checkpoint` refuses `model` with."""
    with pytest.raises(kind) as caught:
        load_checkpoint(model)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert message.isprintable()
    assert 20 < len(message) < 700
    return message


# Formats


def pytorch_bin(folder: Path, model) -> None:
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def old_pytorch_bin(folder: Path, model) -> None:
    torch.save(model.state_dict(), folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)


def sharded_bin(folder: Path, model) -> None:
    names = list(model.state_dict())
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, held in shards.items():
        torch.save({name: model.state_dict()[name] for name in held}, folder / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def sharded_safetensors(folder: Path, model) -> None:
    model.save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2


def half(folder: Path, model, dtype=torch.float16) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(folder.parent / "whole.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(folder, dtype=str(dtype).removeprefix("torch."))


def brain_half(folder: Path, model) -> None:
    half(folder, model, torch.bfloat16)


@pytest.mark.parametrize(
    "write", [pytorch_bin, old_pytorch_bin, sharded_bin, sharded_safetensors, half, brain_half], ids=lambda write: write.__name__
)
def test_every_format_loads_the_same_weights(folder, model, expected_hash, write):
    (folder / "model.safetensors").rename(folder.parent / "whole.safetensors")
    write(folder, model)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.weights_hash() == expected_hash
    assert {tensor.dtype for tensor in checkpoint.model.state_dict().values()} == {torch.float32}
    assert not checkpoint.model.training
    assert (checkpoint.model_type, checkpoint.folder, checkpoint.revision) == ("marian", folder, None)
    assert type(checkpoint.tokenizer).__name__ == "MarianTokenizer"


def test_the_hash_tells_other_weights(folder, expected_hash):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.bias"][3] += 2**-10
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_checkpoint(folder).weights_hash() != expected_hash


def test_a_path_may_be_text_and_relative(folder, expected_hash, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert load_checkpoint("checkpoint").weights_hash() == expected_hash


# Damage


def test_missing_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.encoder.layers.0.fc2.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 of the model's weights (model.encoder.layers.0.fc2.weight first)" in refused(folder)


def test_more_layers_than_weights(folder):
    change_config(folder, decoder_layers=3)
    assert "lacks" in refused(folder)


def test_weights_of_another_shape(folder):
    change_config(folder, encoder_ffn_dim=128)
    assert "holds the wrong shape for 3 of the model's weights (model.encoder.layers.0.fc1.bias first)" in refused(folder)


@pytest.mark.parametrize("size", [0, 4, 100, 100_000])
def test_truncated_safetensors(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be loaded: " in refused(folder).removesuffix(": ")


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_truncated_pytorch_bin(folder, model, size):
    (folder / "model.safetensors").unlink()
    pytorch_bin(folder, model)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be loaded: " in refused(folder).removesuffix(": ")


def test_a_shard_that_is_gone(folder, model):
    (folder / "model.safetensors").unlink()
    sharded_bin(folder, model)
    (folder / "pytorch_model-00002-of-00002.bin").unlink()
    refused(folder)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": "../../secret"}}'])
def test_a_wrong_index(folder, index):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    refused(folder)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b'{"model_type": "marian"'])
def test_a_config_that_is_not_json(folder, content):
    (folder / "config.json").write_bytes(content)
    assert "is not JSON" in refused(folder)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", '{"d_model": 32}'])
def test_a_config_without_an_architecture(folder, content):
    (folder / "config.json").write_text(content)
    assert "names no model_type" in refused(folder)


@pytest.mark.parametrize(
    "changes", [{"d_model": "wide"}, {"d_model": -1}, {"encoder_layers": None}, {"activation_function": "nothing"}, {"encoder_attention_heads": 5}]
)
def test_a_config_that_makes_no_model(folder, changes):
    change_config(folder, **changes)
    refused(folder)


@pytest.mark.parametrize("model_type", ["mariam", "", 3, None, ["marian"]])
def test_an_unknown_architecture(folder, model_type):
    change_config(folder, model_type=model_type)
    refused(folder)


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert "has no config.json" in refused(folder)


def test_a_config_that_is_a_folder(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refused(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "has no weights; expected one of model.safetensors" in refused(folder)


def test_no_tokenizer(folder):
    for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert refused(folder).startswith(f"the tokenizer of {folder} cannot be loaded")


@pytest.mark.parametrize("name", ["source.spm", "vocab.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer(folder, name):
    (folder / name).write_bytes(b"\x00damaged")
    refused(folder)


def test_an_empty_folder(tmp_path):
    assert "has no config.json" in refused(tmp_path)


# Other things than checkpoints


def test_a_bundle(folder):
    (folder / "zen-edge.json").write_text("{}")
    assert "is a zen-edge bundle already" in refused(folder)


def test_an_adapter(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert "merge it first" in refused(folder, UnsupportedModelError)


def test_code_of_its_own(folder):
    (folder / "code.py").write_text("raise SystemExit('ran')")
    change_config(folder, auto_map={"AutoConfig": "code.Config", "AutoModelForSeq2SeqLM": "code.Model"})
    assert "needs code of its own" in refused(folder, UnsupportedModelError)


def test_a_tokenizer_with_code_of_its_own_is_not_run(folder, tmp_path):
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings | {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["code.Own", None]}})
    )
    try:
        load_checkpoint(folder)
    except ZenEdgeError as error:
        assert "\n" not in str(error)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("config", "words"), [(GPT2Config(), "gpt2 is a decoder-only model"), (BertConfig(), "bert")])
def test_an_architecture_of_another_kind(folder, config, words):
    config.save_pretrained(folder)
    assert words in refused(folder, UnsupportedModelError)


def test_an_encoder_is_not_called_a_decoder(folder):
    BertConfig().save_pretrained(folder)
    assert "decoder-only" not in refused(folder, UnsupportedModelError)


def test_nothing_for_the_decoder_to_start_from(folder):
    path = folder / "generation_config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("decoder_start_token_id", "bos_token_id")}
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="says neither decoder_start_token_id nor bos_token_id: set the first") as caught:
        Reference(load_checkpoint(folder))
    assert "\n" not in str(caught.value)
    path.write_text(json.dumps(config | {"bos_token_id": 7}))
    assert Reference(load_checkpoint(folder)).start_token_id == 7
    path.write_text(json.dumps(config | {"bos_token_id": 7, "decoder_start_token_id": 5}))
    assert Reference(load_checkpoint(folder)).start_token_id == 5


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_not_run(folder, tmp_path, zipped):
    (folder / "model.safetensors").unlink()
    weights = folder / "pytorch_model.bin"
    if zipped:
        torch.save({"model.shared.weight": Bomb(tmp_path / "ran")}, weights)
    else:
        weights.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert "could run code when they are unpickled; save them as safetensors" in refused(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nowhere", "../nowhere", "~/nowhere", "a/b/c"])
def test_a_path_that_does_not_exist(name):
    assert f"there is no folder '{name}'" in refused(name)


def test_a_file(folder):
    assert "is a file; give the checkpoint folder" in refused(folder / "model.safetensors")


@pytest.mark.parametrize("name", ["package.module:factory", "file.py:factory"])
def test_a_factory(name):
    assert "looks like a factory" in refused(name, UnsupportedModelError)


@pytest.mark.parametrize("name", ["Helsinki-NLP/no-such-model", "no-such-model", "spaces in/it", "a" * 300])
def test_a_hub_id_without_network(name, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    began = time.monotonic()
    refused(name)
    assert time.monotonic() - began < 5
