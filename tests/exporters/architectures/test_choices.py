"""What is told, refused and measured before anything is traced."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES

from zen_edge.benchmarks import coverage_encoders
from zen_edge.benchmarks.exported import exported_types
from zen_edge.benchmarks.tiny import model_types, tiny_model
from zen_edge.errors import UnsupportedModelError, ZenEdgeError
from zen_edge.exported import KINDS, exported
from zen_edge.exporters.architectures import find_task, known, nearest_supported, require_exported
from zen_edge.exporters.limits import Limits

PAGE = Path(__file__).parents[3] / "docs" / "coverage.md"
T5 = {"summarization": {"prefix": "summarize: "}, "translation_en_to_de": {"prefix": "translate English to German: "}}


def config(model_type: str, **params: object) -> SimpleNamespace:
    return SimpleNamespace(model_type=model_type, **params)


@pytest.mark.parametrize(
    ("model_type", "task"),
    [
        *((name, "translation") for name in ("marian", "mbart", "m2m_100", "fsmt")),
        *((name, "summarization") for name in ("pegasus", "pegasus_x", "bigbird_pegasus")),
    ],
)
def test_the_task_of_an_architecture(model_type, task):
    assert find_task(config(model_type), None) == task


def test_a_dialogue_model_is_exported_with_a_note():
    told: list[str] = []
    assert find_task(config("blenderbot-small"), None, told.append) == "translation"
    assert "dialogue" in told[0]


def test_what_the_checkpoint_says_goes_first():
    assert find_task(config("mbart", task_specific_params={"summarization": {}}), None) == "summarization"
    assert find_task(config("bart", task_specific_params={"summarization_cnn": {}, "summarization_xsum": {}}), None) == "summarization"


def test_several_tasks_are_asked_for():
    with pytest.raises(ZenEdgeError, match=r"names several tasks \(summarization, translation\); give --task"):
        find_task(config("t5", task_specific_params=T5), None)
    with pytest.raises(ZenEdgeError, match="does not say what it is for; give --task"):
        find_task(config("t5"), None)


@pytest.mark.parametrize("model_type", model_types())
def test_a_refusal_names_a_type_that_is_exported(model_type):
    given = AutoConfig.for_model(model_type)
    try:
        require_exported(given)
    except UnsupportedModelError as error:
        nearest = re.search(r"The nearest that is exported: ([\w-]+)\.$", str(error))
        assert nearest is not None, error
        require_exported(AutoConfig.for_model(nearest[1]))
        assert nearest[1] != model_type
    else:
        assert given.is_encoder_decoder


def test_every_file_belongs_to_a_type():
    types = (*model_types(), *coverage_encoders.model_types(), *MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, *MODEL_FOR_CTC_MAPPING_NAMES)
    assert set(known()) <= {name.replace("-", "_") for name in types}


def test_the_nearest_of_anything():
    assert nearest_supported("mbart50") == "mbart"
    assert nearest_supported("something else") == "bart"
    assert nearest_supported("emu3_text_model", "encoders") == "bert"


def test_what_is_named_is_what_the_pages_tell_as_exported():
    held = exported_types(PAGE.parent)
    missing = {kind: set(names) - set(held[kind]) for kind, names in exported().items()}
    assert not any(missing.values()), f"run python -m zen_edge.benchmarks.exported docs: {missing}"
    assert {"bart", "fsmt", "t5"} <= set(held["encoder-decoders"]) and "hubert" in held["ctc"] and "whisper" in held["speech"]
    assert {"bert", "yoso"} <= set(held["encoders"]) and "qwen3_5_text" not in held["encoders"]


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_whatever_is_refused_the_type_named_instead_is_exported(kind):
    every = {name for names in exported().values() for name in names}
    for model_type in (*coverage_encoders.model_types(), *model_types(), *MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES, *MODEL_FOR_CTC_MAPPING_NAMES):
        named = nearest_supported(model_type, kind)
        assert named in every and named != model_type, (model_type, named)


@pytest.mark.parametrize(
    ("model_type", "changes", "limits"),
    [
        ("bart", {"max_position_embeddings": 77}, Limits(77, 77)),
        ("m2m_100", {"max_position_embeddings": 50}, Limits(50, 50)),
        ("fsmt", {}, Limits(128, 128)),
        ("t5", {}, Limits(None, None)),
        ("pegasus_x", {}, Limits(None, None)),
        ("bigbird_pegasus", {"block_size": 4, "num_random_blocks": 2}, Limits(36, 128)),
        ("bigbird_pegasus", {"attention_type": "original_full"}, Limits(128, 128)),
    ],
)
def test_limits(model_type, changes, limits):
    assert Limits.of(tiny_model(model_type, **changes)) == limits


def test_the_coverage_page_lists_every_type():
    text = PAGE.read_text("utf-8")
    assert f"of transformers {transformers.__version__} loads" in text, "run python -m zen_edge.benchmarks.coverage docs/coverage.md"
    listed = re.findall(r"^\| ([a-z][\w-]*) \|", text, re.M)
    assert sorted(set(listed) - {"model type"}) == sorted(model_types())
    assert len(listed) == len(set(listed))
    assert "WRONG" not in text
