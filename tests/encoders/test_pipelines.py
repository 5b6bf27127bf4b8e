"""Labels, entities and words for masks: the same as transformers' pipelines give, which have them still."""

import itertools
import json
import random
import warnings

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast, pipeline
from typer.testing import CliRunner

import zen_edge
from zen_edge.cli import app
from zen_edge.errors import InputError, OptionError, ZenEdgeError
from zen_edge.inputs import BUILT_IN
from zen_edge.runtimes.pipelines.entities import STRATEGIES
from zen_edge.runtimes.pipelines.scores import sigmoid, softmax

NEAR = 2e-5
LINES = [line.source for line in BUILT_IN]
TEXTS = [
    *LINES,
    "Wolfgang lives in Zürich -- with  two dogs, and (sometimes) a cat!",
    "antidisestablishmentarianism's unwritten rules",
    "",
    "日本 x ☃ y",
]
ENTITIES = {"id2label": dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))), "num_labels": 5}


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """BERT's kind of tokenizer, trained on the lines: pieces of words, marked with ##."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(LINES, trainers.WordPieceTrainer(vocab_size=160, special_tokens=list(special.values())))
    ends = [(name, backend.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=names, model_max_length=64, clean_up_tokenization_spaces=True, **special
    )


@pytest.fixture(scope="session")
def both(bundle, checkpoint, words):
    """both("text-classification", ...): transformers' pipeline of a checkpoint, and ours of its bundle."""
    made = {}

    def make(task, model_type="bert", tokenizer=words, **changes):
        key = (task, model_type)
        if key not in made:
            source = checkpoint(model_type, task, tokenizer, **changes)
            made[key] = pipeline(task, str(source)), zen_edge.load(bundle(model_type, task, tokenizer, **changes), threads=1)
        return made[key]

    return make


def same(ours, theirs):
    """Field by field, scores nearly so."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        told = one.to_json()
        assert told.pop("score") == pytest.approx(other["score"], abs=NEAR)
        assert told == {name: value for name, value in other.items() if name != "score"}


# Text classification


def test_labels(both):
    theirs, ours = both("text-classification")
    for top_k, function in itertools.product((1, 3, None), (None, "softmax", "sigmoid", "none")):
        options = {"top_k": top_k} | ({"function_to_apply": function} if function else {})
        for mine, other in zip(ours(TEXTS, **options), theirs(TEXTS, **options), strict=True):
            same(mine, other)
    same([ours(text) for text in TEXTS], theirs(TEXTS))
    same(ours(TEXTS), theirs(TEXTS))
    assert len({one.label for one in ours(TEXTS)}) > 1  # else it would prove little


def test_pairs(both):
    theirs, ours = both("text-classification")
    pairs = [{"text": one, "text_pair": other} for one, other in itertools.pairwise(LINES[:3])]
    same(ours(pairs), theirs(pairs))
    same([ours(LINES[0], text_pair="a pair")], [theirs({"text": LINES[0], "text_pair": "a pair"})])
    assert ours(pairs[0]).score != pytest.approx(ours(pairs[0]["text"]).score, abs=NEAR)
    with pytest.raises(InputError, match="leave one out"):
        ours(pairs[0], text_pair="b")
    with pytest.raises(InputError, match="input 2 of 2: expected a text, got a value of type NoneType"):
        ours([{"text": "a"}, {"text_pair": "b"}])


@pytest.mark.parametrize(
    ("problem", "labels", "function"),
    [(None, 3, "softmax"), (None, 1, "sigmoid"), ("regression", 1, "none"), ("multi_label_classification", 3, "sigmoid"), ("single_label_classification", 2, "softmax")],
)  # fmt: skip
def test_the_usual_function_is_that_of_the_problem(both, problem, labels, function):
    ours = both("text-classification")[1]
    ours._labels, before = ["x"] * labels, ours._labels
    head = dict(ours.manifest.head)
    ours.manifest.head.pop("problem_type", None)
    try:
        ours.manifest.head.update({"problem_type": problem} if problem else {})
        assert ours._usual_function() == function
    finally:
        ours._labels = before
        ours.manifest.head.clear()
        ours.manifest.head.update(head)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"topk": 2}, "no option topk of text-classification; did you mean top_k?"),
        ({"top_k": 0}, "top_k must be a whole number from 1, not 0"),
        ({"function_to_apply": "softmx"}, "there are: softmax, sigmoid, none"),
        ({"overflow": "split"}, "there are: error, truncate"),
        ({"text_pair": 3}, "text_pair must be a text"),
    ],
)
def test_options_of_labels(both, options, says):
    with pytest.raises(OptionError, match=says):
        both("text-classification")[1]("x", **options)


def test_long_texts(both):
    theirs, ours = both("text-classification")
    text = "library of tools " * 40
    with pytest.raises(InputError, match=r"has \d+ tokens, and the model takes 64"):
        ours(text)
    same([ours(text, overflow="truncate")], theirs(text, truncation=True))
    answers = ours.generate_each(["Hello", text, None])
    assert [isinstance(answer, ZenEdgeError) for answer in answers] == [False, True, True]


def test_extreme_scores():
    scores = np.array([-200.0, 0.0, 200.0], np.float32)
    assert np.isfinite(softmax(scores)).all()
    assert sigmoid(scores).tolist() == [0.0, 0.5, 1.0]


# Token classification


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_entities(both, strategy):
    theirs, ours = both("token-classification", **ENTITIES)
    for ignored in (None, [], ["LOC", "I-LOC"]):
        options = {"aggregation_strategy": strategy} | ({"ignore_labels": ignored} if ignored is not None else {})
        for text, mine in zip(TEXTS, ours(TEXTS, **options), strict=True):
            same(mine, theirs(text, **options) if text else [])
    found = [one.entity for entities in ours(TEXTS, aggregation_strategy=strategy) for one in entities]
    assert len(set(found)) > 1


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("stride", [0, 5, 40])
def test_long_texts_in_parts(both, strategy, stride):
    theirs, ours = both("token-classification", **ENTITIES)
    text = " ".join(random.Random(stride).choices([word for line in LINES for word in line.split()], k=130))
    same(ours(text, aggregation_strategy=strategy, stride=stride), theirs(text, aggregation_strategy=strategy, stride=stride))
    with pytest.raises(InputError, match="and the model takes 64"):
        ours(text, aggregation_strategy=strategy)
    cut = ours(text, aggregation_strategy=strategy, overflow="truncate")
    same(cut, theirs(text, aggregation_strategy=strategy))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("delimiter", [None, "", " | "])
def test_words_in_the_place_of_texts(both, strategy, delimiter):
    """Places are those of the words joined; words hold spaces, several pieces, other scripts, or nothing."""
    theirs, ours = both("token-classification", **ENTITIES)
    words = ["Wolfgang", "lives", "in", "New York,", "", "unwritten-rules'", "日本x", "☃", "library."]
    options = {"aggregation_strategy": strategy, "is_split_into_words": True} | ({} if delimiter is None else {"delimiter": delimiter})
    same(ours(words, **options), theirs(words, **options)[0])
    first, second = ours([words[:3], words], **options)
    same(first, theirs(words[:3], **options)[0])
    same(second, theirs(words, **options)[0])
    if strategy != "none":
        many = words * 12
        same(ours(many, stride=5, **options), theirs(many, stride=5, **options)[0])


def test_what_is_no_list_of_words(both):
    ours = both("token-classification", **ENTITIES)[1]
    found = ours.generate_each([["a", "b"], "a b", [1, 2], None], is_split_into_words=True)
    assert [isinstance(one, InputError) for one in found] == [False, True, True, True]
    assert "expects a list of words, not a value of type str" in str(found[1])
    assert isinstance(ours.generate_each([["a", "b"]])[0], InputError)
    assert ours([], is_split_into_words=True) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delimiter": " "}, "for is_split_into_words=True"),
        ({"is_split_into_words": "yes"}, "must be true or false, not 'yes'"),
        ({"aggregation_strategy": "last"}, "there are: none, simple, first, average, max"),
        ({"ignore_labels": "O"}, "must be a list of labels"),
        ({"stride": 3}, "choose an aggregation_strategy"),
        ({"stride": 62, "aggregation_strategy": "simple"}, "less than the 62 tokens of text"),
    ],
)
def test_options_of_entities(both, options, says):
    with pytest.raises(OptionError, match=says):
        both("token-classification", **ENTITIES)[1]("x", **options)


# Masks


def test_words_for_masks(both):
    theirs, ours = both("fill-mask")
    masked = ["library of [MASK] for reading", "[MASK] world", "[MASK]", "the [MASK]  (written in 1998) it 's"]
    for options in ({}, {"top_k": 1}, {"top_k": 17}, {"targets": ["library", "of", "the"]}, {"targets": "libraries", "top_k": 3}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [theirs(text, **options) for text in masked]
        for mine, other in zip(ours(masked, **options), expected, strict=True):
            same(mine, other)
    same(ours(masked[0]), theirs(masked[0]))


def test_several_masks(both):
    theirs, ours = both("fill-mask")
    text = "a [MASK] program for [MASK] and [MASK]."
    for mine, other in zip(ours(text, top_k=4), theirs(text, top_k=4), strict=True):
        same(mine, other)
    mixed = ours([text, "[MASK] world"], top_k=2)
    assert [len(mixed[0]), len(mixed[1])] == [3, 2]
    assert mixed[1] == ours("[MASK] world", top_k=2)


@pytest.mark.parametrize(
    ("text", "options", "error", "says"),
    [
        ("no mask", {}, InputError, r"there is no \[MASK\] in the text: write it"),
        ("x [MASK]", {"targets": []}, OptionError, "targets must be a word or a list of words"),
        ("x [MASK]", {"targets": [""]}, OptionError, "none of the targets"),
        ("x [MASK]", {"top_k": True}, OptionError, "top_k must be a whole number"),
        ("word " * 80 + "[MASK]", {"overflow": "truncate"}, InputError, "or not in its beginning"),
    ],
)
def test_masks_that_cannot_be_filled(both, text, options, error, says):
    with pytest.raises(error, match=says):
        both("fill-mask")[1](text, **options)


def test_more_words_than_there_are(both):
    assert len(both("fill-mask")[1]("[MASK]", top_k=10**6)) == both("fill-mask")[1].manifest.limits["vocab_size"]


# On the command line


@pytest.fixture
def zen(bundle, both, words):
    """zen("fill-mask", "text", "--json") -> what `zen-edge run` prints."""

    def run(task, *arguments, input=None, status=0):
        changes = ENTITIES if task == "token-classification" else {}
        both(task, **changes)
        done = CliRunner().invoke(app, ["run", str(bundle("bert", task, words, **changes)), *arguments], input=input)
        assert done.exit_code == status, done.output
        return done.stdout.splitlines()

    return run


def test_a_line_for_each_text(zen, both):
    label = both("text-classification")[1](LINES)
    assert zen("text-classification", input="\n".join(LINES)) == [f"{one.label}\t{one.score:.4f}" for one in label]
    assert [line.split("\t")[::2] for line in zen("text-classification", "a", "b", "--top-k", "2")] == [
        [one.label for one in labels] for labels in both("text-classification")[1](["a", "b"], top_k=2)
    ]
    (line,) = zen("text-classification", LINES[0], "--pair", LINES[1], "--json")
    label = both("text-classification")[1]({"text": LINES[0], "text_pair": LINES[1]})
    assert json.loads(line)["label"] == label.label and json.loads(line)["score"] == pytest.approx(label.score, abs=NEAR)
    zen("token-classification", LINES[0], "--pair", LINES[1], status=1)
    entities = both("token-classification", **ENTITIES)[1](LINES[0], aggregation_strategy="simple")
    assert zen("token-classification", LINES[0], "--option", "aggregation_strategy=simple") == [
        "\t".join(f"{one.entity}\t{one.word}" for one in entities)
    ]
    best = both("fill-mask")[1]("[MASK] world")[0]
    assert zen("fill-mask", "[MASK] world", "no mask", status=1) == [f"{best.sequence}\t{best.score:.4f}", ""]


def test_an_object_for_each_text(zen, both):
    ours = both("text-classification")[1]
    (line,) = zen("text-classification", "Hello world", "--json", "--top-k", "2")
    assert json.loads(line) == ours("Hello world").to_json() | {"labels": [one.to_json() for one in ours("Hello world", top_k=2)]}
    (line,) = zen("token-classification", LINES[0], "--json")
    assert json.loads(line) == {"entities": [one.to_json() for one in both("token-classification", **ENTITIES)[1](LINES[0])]}
    first, second = map(json.loads, zen("fill-mask", "[MASK] world", "[MASK] [MASK]", "--json"))
    fills = both("fill-mask")[1](["[MASK] world", "[MASK] [MASK]"])
    assert first == fills[0][0].to_json() | {"fills": [fill.to_json() for fill in fills[0]]}
    assert second == {"masks": [[fill.to_json() for fill in each] for each in fills[1]]}
