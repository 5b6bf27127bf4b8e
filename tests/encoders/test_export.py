"""What becomes of an encoder's checkpoint: the task it is for, what its graph reads, and that it says what PyTorch says."""

import shutil

import onnx
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    CanineConfig,
    Gemma3Config,
    LayoutLMConfig,
    LayoutLMv2Config,
    LongformerConfig,
    RobertaConfig,
)

from zen_edge import quantize
from zen_edge.benchmarks.tiny_encoders import LABELS, tasks_of, tiny_encoder, tiny_pair_tokenizer, write_tiny_encoder
from zen_edge.check import parity
from zen_edge.check_encoder import compare as compare_encoder
from zen_edge.errors import CheckpointError, UnsupportedModelError, ZenEdgeError
from zen_edge.exporters import export
from zen_edge.exporters.attention import fused_attention, fused_mask
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.encoders import MASK, PLACES, TYPES, Reading, class_of, encoder_task, head
from zen_edge.exporters.limits import Limits
from zen_edge.inputs import BUILT_IN
from zen_edge.manifest import read_manifest
from zen_edge.tasks import ENCODER_OUTPUTS


@pytest.mark.parametrize(
    ("model_type", "name", "task"),
    [
        ("bert", "BertForSequenceClassification", "text-classification"),
        ("bert", "BertForTokenClassification", "token-classification"),
        ("bert", "BertForQuestionAnswering", "question-answering"),
        ("bert", "BertForMaskedLM", "fill-mask"),
        ("bert", "BertModel", "text-embedding"),
        ("bert", "BertForPreTraining", None),
        ("t5", "T5EncoderModel", "text-embedding"),
        ("t5", "T5ForConditionalGeneration", None),
        ("bart", "BartForConditionalGeneration", None),
        ("bart", "BartForSequenceClassification", "text-classification"),
        ("wav2vec2", "Wav2Vec2Model", None),
        ("vit", "ViTModel", None),
    ],
)
def test_the_class_of_a_checkpoint_tells_its_task(model_type, name, task):
    config = type("Config", (), {"model_type": model_type, "architectures": [name]})
    assert encoder_task(config) == task
    assert encoder_task(config, "fill-mask") == "fill-mask"
    assert encoder_task(config, "translation") is None


def test_a_class_that_does_not_tell_is_asked_about(tmp_path):
    config = BertConfig(vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertForPreTraining(config).save_pretrained(tmp_path)
    tiny_pair_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UnsupportedModelError, match=r"bert checkpoint \(BertForPreTraining\) does not say what it is for; give --task: question-answering"
    ):
        load_checkpoint(tmp_path)
    assert isinstance(load_checkpoint(tmp_path, task="fill-mask").model, BertForMaskedLM)
    with pytest.raises(CheckpointError, match=r"lacks 2 of the model's weights \(classifier.bias first\); they would be random"):
        load_checkpoint(tmp_path, task="text-classification")


def test_weights_that_nothing_depends_on_may_be_lacking(tmp_path):
    """A pooler under a model without one; the weights' hash knows nothing of it."""
    config = BertConfig(vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tiny_pair_tokenizer().save_pretrained(tmp_path)
    first, second = (load_checkpoint(tmp_path, task="text-embedding") for _ in range(2))
    assert isinstance(first.model, BertModel)
    assert not first.model.pooler.dense.weight.any()
    assert first.weights_hash() == second.weights_hash()
    assert all(weight.requires_grad for weight in first.model.parameters())


def test_an_unknown_task_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(ZenEdgeError, match=r"task 'text-clasification' is not known; there are: .*text-classification"):
        export(tmp_path / "nothing", tmp_path / "out", task="text-clasification")


@pytest.mark.parametrize(
    ("config", "task", "says"),
    [
        (CanineConfig(), "text-classification", "canine reads characters, by a tokenizer of its own.* The nearest that is exported: bert"),
        (LongformerConfig(), "question-answering", "longformer attends within a sliding window.* The nearest that is exported: modernbert"),
        (LayoutLMv2Config(), "token-classification", "layoutlmv2 reads bbox, image besides text.* The nearest that is exported: bert"),
        (Gemma3Config(), "text-embedding", "gemma3 reads pixel_values besides text.* The nearest that is exported: gemma3_text"),
        (RobertaConfig(), "summarization", None),
        (type("Config", (), {"model_type": "esm"}), "question-answering", "transformers has no esm for question-answering; it has it for text-class"),
    ],
)
def test_what_is_no_encoder_is_refused(config, task, says):
    if says is None:
        assert encoder_task(config, task) is None
        return
    with pytest.raises(UnsupportedModelError, match=says):
        class_of(task, config)


def test_a_model_that_reads_more_than_text_is_refused(tmp_path):
    from transformers import LayoutLMForTokenClassification

    config = LayoutLMConfig(vocab_size=320, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    LayoutLMForTokenClassification(config).save_pretrained(tmp_path)
    tiny_pair_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="layoutlm reads bbox besides text"):
        load_checkpoint(tmp_path)


def test_a_text_without_the_token_that_a_head_looks_for_is_refused(tmp_path):
    """BART labels a text by its state at the last </s>."""
    write_tiny_encoder(tmp_path / "checkpoint", "bart", "text-classification", eos_token_id=7)
    with pytest.raises(UnsupportedModelError, match=r"bart cannot be run on what its tokenizer makes of a text .*at least one <eos> token"):
        load_checkpoint(tmp_path / "checkpoint")


# What a graph reads


@pytest.mark.parametrize(
    ("model_type", "task", "types", "inputs"),
    [
        ("bert", "text-classification", True, (MASK, TYPES)),
        ("bert", "text-classification", False, (MASK,)),  # the tokenizer does not tell
        ("roberta", "token-classification", True, (MASK, TYPES)),
        ("distilbert", "token-classification", True, (MASK,)),
        ("electra", "fill-mask", True, (MASK, TYPES, PLACES)),
        ("modernbert", "fill-mask", True, (MASK, PLACES)),
        ("convbert", "token-classification", True, (TYPES,)),  # convolves over padding
        ("fnet", "text-embedding", True, (TYPES,)),  # has no mask
    ],
)
def test_types_are_read_where_the_model_reads_them_and_the_tokenizer_tells_them(model_type, task, types, inputs):
    assert Reading.of(tiny_encoder(model_type, task), tiny_pair_tokenizer(types=types), task) == Reading(inputs, gathered=task == "fill-mask")


def test_one_kind_of_types_is_none():
    model = tiny_encoder("roberta", "text-classification", type_vocab_size=1)
    assert Reading.of(model, tiny_pair_tokenizer(), "text-classification").inputs == (MASK,)


@pytest.mark.parametrize(("model_type", "limit"), [("bert", 128), ("roberta", 126), ("mpnet", 126), ("distilbert", 128), ("modernbert", None)])
def test_how_long_a_text_may_be(model_type, limit):
    """The first positions of RoBERTa and its kin are padding's."""
    assert Limits.of_encoder(tiny_encoder(model_type, "token-classification")).source == limit


def test_labels_and_masks_are_told():
    model, tokenizer = tiny_encoder("bert", "text-classification", problem_type="multi_label_classification"), tiny_pair_tokenizer()
    labels = [f"LABEL_{i}" for i in range(LABELS)]
    assert head(model, tokenizer, "text-classification") == {"labels": labels, "problem_type": "multi_label_classification"}
    assert head(model, tokenizer, "fill-mask") == {"mask_token": "<mask>", "mask_token_id": 4}
    tokenizer.mask_token = None
    with pytest.raises(CheckpointError, match="no mask_token"):
        head(model, tokenizer, "fill-mask")


def test_a_window_of_places_is_added_to_the_scores():
    mask = fused_mask(
        2, 5, 5, mask_function=lambda batch, head, query, key: (key - query).abs() <= 1, attention_mask=torch.ones(2, 5, dtype=torch.bool)
    )
    window = mask.zen_edge_mask.window[0, 0]
    assert window.int().tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1]]
    with pytest.raises(UnsupportedModelError, match="for sliding_window, which"):
        fused_attention(torch.nn.Module(), *[torch.zeros(1, 4, 3, 8)] * 3, fused_mask(1, 3, 3), sliding_window=2)


# Whole exports


@pytest.fixture(scope="module")
def compared(bundle, checkpoint):
    """compared("bert", "fill-mask") -> the manifest and the report of the export."""

    def of(model_type, task, **changes):
        folder = bundle(model_type, task, **changes)
        manifest, loaded = read_manifest(folder), load_checkpoint(checkpoint(model_type, task, **changes), task=task)
        return manifest, compare_encoder(folder, manifest, loaded, BUILT_IN, only_fitting=False, tell=lambda step: None)[0]

    return of


def test_layers_with_a_window_say_the_same(compared):
    """ModernBERT: every other layer sees its neighbours only, without which lines of this length come out otherwise."""
    manifest, report = compared("modernbert", "fill-mask")
    (graph,) = manifest.graphs
    assert (manifest.task, graph.fused_attention, graph.unfused_attention) == ("fill-mask", 2, 0)
    assert [(tensor.name, tensor.shape) for tensor in graph.inputs] == [(name, ("B", "T")) for name in ("input_ids", "attention_mask")] + [
        (PLACES, ("B", "M"))
    ]
    assert [(tensor.name, tensor.shape) for tensor in graph.outputs] == [("logits", ("B", "M", 320))]
    assert report.passed, report.failures
    assert report.tokens.total == 2 * len(BUILT_IN)
    assert {output.name for output in report.outputs} == {"encoder.logits", "encoder.logits padded"}


def test_an_encoder_and_a_decoder_under_a_head_say_the_same(compared):
    """BART: the decoder is given the text once more, from left to right, and its state at the last </s> is labelled, of texts and pairs of them."""
    manifest, report = compared("bart", "text-classification")
    (graph,) = manifest.graphs
    assert (graph.fused_attention, graph.unfused_attention) == (6, 0)
    assert report.passed, report.failures
    assert report.tokens.total == 4 * len(BUILT_IN)


def test_parity_names_the_line_that_is_too_long(bundle, checkpoint):
    folder, source = bundle("bert", "token-classification"), checkpoint("bert", "token-classification")
    assert parity(folder, source, inputs=["Hello world", "documentation"], keep=False).passed
    with pytest.raises(ZenEdgeError, match="the model takes 128 tokens, fewer than some lines have"):
        parity(folder, source, inputs=["Hello", "word " * 200])


def test_a_forgotten_mask_is_seen(bundle, checkpoint, vouch, tmp_path):
    """Lines alone are as they were."""
    source = checkpoint("bert", "token-classification")
    folder = shutil.copytree(bundle("bert", "token-classification"), tmp_path / "copy")
    model = onnx.load(folder / "encoder.onnx", load_external_data=False)
    for node in model.graph.node:
        if node.op_type == "MultiHeadAttention":
            node.input[4] = ""
    onnx.save(model, folder / "encoder.onnx")
    vouch(folder, "encoder.onnx")
    report = parity(folder, source, keep=False)
    assert [output.passed for output in report.outputs] == [True, False]


# Weights drawn otherwise, where the first draw errs most of eight: ALBERT's median in int8 is BERT's, and sharing a layer costs nothing.
DRAWS = {("albert", "text-classification"): 2}
# With a decoder behind the encoder there are three times as many layers of attention. As loud as the others, BART errs as much with a scale for each block
# (cosine 0.87 to 0.96) as with one for each row (0.90 to 0.95); a third quieter, 0.997. MobileBERT normalizes nothing, and errs in blocks as much too.
QUIET = {"bart": 1.0, "mbart": 1.0, "t5": 1.0, "mobilebert": 0.7}


@pytest.mark.sweep
@pytest.mark.parametrize("task", ENCODER_OUTPUTS)
@pytest.mark.parametrize(
    "model_type",
    [
        *("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "albert", "electra", "modernbert", "mpnet", "deberta-v2"),
        *("bart", "mbart", "t5", "xlnet", "mobilebert"),
        *("gpt2", "qwen3", "gemma3_text"),  # which read from left to right
    ],
)
def test_every_task(model_type, task, tmp_path):
    """In fp32 and in int8."""
    if task not in tasks_of(model_type):
        return  # transformers has none
    write_tiny_encoder(tmp_path / "checkpoint", model_type, task, seed=DRAWS.get((model_type, task), 1), loudness=QUIET.get(model_type, 1.5))
    exact, loaded = export(tmp_path / "checkpoint", tmp_path / "fp32", task=task), load_checkpoint(tmp_path / "checkpoint", task=task)
    for made in (exact, quantize(exact.path, tmp_path / "int8", verify=False)):
        report, _ = compare_encoder(made.path, made.manifest, loaded, BUILT_IN, only_fitting=True, tell=print)
        assert report.passed, (made.manifest.precision, report.failures)


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("model_type", "task", "attention"),
    [
        ("gemma2", "text-classification", (0, 2)),  # caps its scores, which the operator does not do
        ("mixtral", "text-classification", (2, 0)),  # experts
        ("deepseek_v2", "text-embedding", (2, 0)),  # complex numbers, and values narrower than keys
        ("axk2", "text-embedding", (2, 0)),  # an index
        ("doge", "text-embedding", (2, 0)),
        ("plbart", "text-classification", (6, 0)),  # whose decoder reads the last id first
        ("mistral", "question-answering", (2, 0)),  # a head that does not hand on that no cache is wanted
    ],
)
def test_what_reads_from_left_to_right(compared, model_type, task, attention):
    manifest, report = compared(model_type, task)
    (graph,) = manifest.graphs
    assert (graph.fused_attention, graph.unfused_attention) == attention
    assert report.passed, report.failures
