"""Records the vectors that sentence-transformers makes:

    python tests/data/text_embedding/record.py       # with sentence-transformers 6.2 and torch

A tiny model with made-up weights and the WordPiece tokenizer of ../question_answering, with every kind of pooling and what may follow it; vectors.json is
written beside this file. Tests make the same checkpoints with `write_checkpoint`.
"""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent
BERT = runpy.run_path(str(HERE.parent / "question_answering" / "record.py"))
TEXTS = (
    "The lighthouse of Kéréon was built between 1907 and 1916.",
    "été",
    "",
    "  Où est-ce ?  灯台は一九一六年に建てられました。",
    "the library of sounds and images " * 12,  # longer than max_seq_length
)
PROMPTS = {"query": "question: ", "passage": "from a lighthouse, "}
NORMALIZE = ("Normalize", {})
# By name: the pooling's settings, the modules after it, and what `encode` is given.
VARIANTS: dict[str, tuple[dict[str, Any], tuple[tuple[str, dict[str, Any]], ...], dict[str, Any]]] = {
    "mean": ({"pooling_mode_mean_tokens": True}, (NORMALIZE,), {}),
    "cls": ({"pooling_mode_cls_token": True}, (), {}),
    "max": ({"pooling_mode_max_tokens": True}, (), {}),
    "mean_sqrt_len_tokens": ({"pooling_mode_mean_sqrt_len_tokens": True}, (), {}),
    "weightedmean": ({"pooling_mode_weightedmean_tokens": True}, (), {}),
    "lasttoken": ({"pooling_mode_lasttoken": True}, (), {}),
    "several": ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, (NORMALIZE,), {}),
    "newer names": ({"pooling_mode": ["max", "cls"]}, (NORMALIZE,), {}),
    "dense": (
        {"pooling_mode_mean_tokens": True},
        (("Dense", {"activation_function": "torch.nn.modules.activation.Tanh"}), NORMALIZE),
        {},
    ),
    "dense without bias": (
        {"pooling_mode_mean_tokens": True},
        (("Dense", {"activation_function": "torch.nn.modules.linear.Identity", "bias": False}),),
        {},
    ),
    "prompt": ({"pooling_mode_mean_tokens": True}, (), {"prompt_name": "passage"}),
    "prompt of one's own": ({"pooling_mode_mean_tokens": True}, (), {"prompt": "in words: "}),
    "prompt left out": ({"pooling_mode_weightedmean_tokens": True, "include_prompt": False}, (), {"prompt_name": "passage"}),
    "prompt left out of the mean": ({"pooling_mode_mean_tokens": True, "include_prompt": False}, (), {"prompt_name": "query"}),
}


def write_checkpoint(folder: Path, variant: str) -> None:
    pooling, after, _ = VARIANTS[variant]
    BERT["write_checkpoint"]("bert", folder)  # for its tokenizer; the model is another
    config = BertConfig.from_pretrained(folder)
    config.architectures = None
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                weight.copy_(BERT["_made_up"](name, tuple(weight.shape)))
    model.save_pretrained(folder)
    modules = ["Transformer", "Pooling", *(kind for kind, _ in after)]
    paths = ["", *(f"{place}_{kind}" for place, kind in enumerate(modules) if place)]
    rows = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(zip(modules, paths, strict=True))
    ]
    _write(folder / "modules.json", rows)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": None})
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": config.hidden_size, **pooling})
    for path, (kind, settings) in zip(paths[2:], after, strict=True):
        (folder / path).mkdir()
        if kind == "Dense":
            D = config.hidden_size * len(_modes(pooling))
            _write(folder / path / "config.json", {"in_features": D, "out_features": 24, "bias": True, **settings})
            shapes = {"linear.weight": (24, D), **({"linear.bias": (24,)} if settings.get("bias", True) else {})}
            rng = np.random.default_rng(5)
            weights = {name: torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()}
            save_file(weights, folder / path / "model.safetensors")


def _modes(pooling: dict[str, Any]) -> list[Any]:
    return pooling.get("pooling_mode") or [name for name, given in pooling.items() if given is True]


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    import tempfile

    import sentence_transformers
    import transformers

    torch.set_num_threads(1)
    found: dict[str, Any] = {"made_with": {module.__name__: module.__version__ for module in (sentence_transformers, transformers, torch)}}
    for variant, (_, _, options) in VARIANTS.items():
        with tempfile.TemporaryDirectory() as name:
            write_checkpoint(Path(name), variant)
            vectors = sentence_transformers.SentenceTransformer(name, device="cpu").encode(list(TEXTS), **options)
            found[variant] = [[round(float(number), 6) for number in vector] for vector in vectors]
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in found.items())
    (HERE / "vectors.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
