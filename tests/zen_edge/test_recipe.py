"""Recipes: which precision a part has, the name for the whole, and one clear line for what is none."""

import json

import pytest

from zen_edge.errors import BundleError, OptionError
from zen_edge.manifest import Manifest
from zen_edge.recipe import GROUPS, PRECISIONS, Recipe


def test_a_layer_goes_before_its_group():
    recipe = Recipe.uniform("int8").changed("encoder.1", "fp32").changed("feed-forward", "int4")
    assert [recipe.precision_of("encoder", layer) for layer in (0, 1, None)] == ["int8", "fp32", "int8"]
    assert recipe.precision_of("feed-forward", 3) == "int4"


def test_the_whole_is_named_after_its_coarsest_part():
    assert [Recipe.uniform(name).precision for name in PRECISIONS] == list(PRECISIONS)
    assert Recipe.uniform("fp16").changed("embeddings", "int8").precision == "int8"
    assert Recipe.uniform("int8").changed("encoder.0", "int4").precision == "int4"


def test_keys_and_values_are_half_where_both_kinds_of_attention_are():
    assert Recipe.uniform("fp16").is_half
    assert Recipe.uniform("fp16").changed("feed-forward", "fp32").is_half
    assert not Recipe.uniform("fp16").changed("cross-attention.1", "fp32").is_half
    assert not Recipe.uniform("fp32").is_half


WRONG = {
    "no such part": ({"decoder": "int8"}, "a recipe has no part 'decoder'"),
    "near miss": ({"encodr.1": "int8"}, "did you mean encoder"),
    "a layer without a number": ({"encoder.x": "int8"}, "no part 'encoder.x'"),
    "a layer told twice": ({"encoder.1": "int8", "encoder.01": "int4"}, "no part 'encoder.01'"),
    "a layer in other digits": ({"encoder.\u0663": "int8"}, r"no part 'encoder.\\u0663'"),
    "no such precision": ({"encoder": "int7"}, "precision 'int7' of encoder is not known"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_is_no_recipe(change, message):
    with pytest.raises(OptionError, match=message):
        Recipe.of(dict.fromkeys(GROUPS, "fp32") | change)
    with pytest.raises(OptionError, match="says nothing of cross-attention"):
        Recipe.of({group: "int8" for group in GROUPS if group != "cross-attention"})


def test_a_manifest_keeps_the_recipe(demo_fp32):
    told = json.loads((demo_fp32 / "zen-edge.json").read_text())
    assert told["recipe"] == dict.fromkeys(GROUPS, "fp32")
    assert Manifest.from_json(json.dumps(told)).recipe == told["recipe"]
    del told["recipe"]  # as in bundles made before there were recipes
    assert Manifest.from_json(json.dumps(told)).recipe is None


@pytest.mark.parametrize("recipe", ["int8", [], {"encoder": "int8"}, dict.fromkeys(GROUPS, "int9"), dict.fromkeys(GROUPS), {"\n": "int8"}], ids=str)
def test_a_corrupted_recipe_is_told_in_one_line(demo_fp32, recipe):
    told = json.loads((demo_fp32 / "zen-edge.json").read_text()) | {"recipe": recipe}
    with pytest.raises(BundleError, match=r"zen-edge\.json\.recipe") as caught:
        Manifest.from_json(json.dumps(told))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("change", [{"precision": "int4"}, {"recipe": dict.fromkeys(GROUPS, "fp32") | {"encoder.0": "int8"}}], ids=str)
def test_a_recipe_of_another_precision_than_the_manifest_tells_is_refused(demo_fp32, change):
    told = json.loads((demo_fp32 / "zen-edge.json").read_text()) | change
    with pytest.raises(BundleError, match=r"^zen-edge\.json: the precision is \w+, and that of its recipe \w+; export the bundle again$"):
        Manifest.from_json(json.dumps(told))
