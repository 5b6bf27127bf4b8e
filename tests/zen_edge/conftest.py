from pathlib import Path

import pytest

from zen_edge.manifest import FORMAT, Graph, Manifest, NodeKind, Tensor, describe_files, write_manifest


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sound bundle: two files, one graph."""
    folder = tmp_path / "bundle"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "encoder.onnx").write_bytes(b"graph" * 100)
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    mha = "com.microsoft::MultiHeadAttention"
    graph = Graph(
        name="encoder",
        file="encoder.onnx",
        size=500,
        inputs=(Tensor("input_ids", "int64", ("B", "S")), Tensor("attention_mask", "int32", ("B", "S"))),
        outputs=(Tensor("hidden", "float32", ("B", "S", 16)),),
        parameters=1234,
        ops={"MatMul": 4, "MultiHeadAttention": 2, "DynamicQuantizeMatMul": 3},
        fused_attention=2,
        unfused_attention=0,
        nodes=(
            NodeKind("MatMul", 13, ("float32", "float32"), ("float32",), 4),
            NodeKind(mha, 1, ("float32", "float32", "float32", "", "int32"), ("float32",), 2),
            NodeKind("com.microsoft::DynamicQuantizeMatMul", 1, ("float32", "int8", "float32"), ("float32",), 3),
        ),
    )
    manifest = Manifest(
        format=FORMAT,
        task="translation",
        model_type="marian",
        precision="int8",
        device="cpu",
        graphs=(graph,),
        generation={"num_beams": 4, "length_penalty": 1.0, "bad_words_ids": [[1, 2]], "forced_eos_token_id": None},
        tokenizer={"kind": "marian", "source": "tokenizer/vocab.json"},
        limits={"max_source_length": 512, "vocab_size": 58101},
        files=describe_files(folder),
        source={"name": "Helsinki-NLP/opus-mt-en-fr", "revision": None, "weights": "0" * 64},
        made_with={"zen-edge": "0.1.0"},
        parity=None,
    )
    write_manifest(folder, manifest)
    return folder
