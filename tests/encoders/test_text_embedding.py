"""One vector for each text: the same as sentence-transformers 6.2 makes, which are in tests/data."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pytest
from typer.testing import CliRunner

import zen_edge
from zen_edge import check
from zen_edge.cli import app
from zen_edge.errors import BundleError, CheckpointError, InputError, OptionError, UnsupportedModelError
from zen_edge.exporters import export
from zen_edge.exporters.checkpoint import load_checkpoint
from zen_edge.exporters.embedding import embedding_head
from zen_edge.manifest import describe_files, read_manifest, write_manifest

DATA = Path(__file__).parents[1] / "data" / "text_embedding"
RECORD = runpy.run_path(str(DATA / "record.py"))
VECTORS = json.loads((DATA / "vectors.json").read_text("utf-8"))
VARIANTS, TEXTS = RECORD["VARIANTS"], list(RECORD["TEXTS"])


def quiet(step):
    pass


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedding") / "checkpoint"
    RECORD["write_checkpoint"](folder, "mean")
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint):
    return export(checkpoint, checkpoint.parent / "bundle", verify=check.verify).path


@pytest.fixture(scope="module")
def embed(bundle):
    return zen_edge.load(bundle, threads=1)


@pytest.fixture(scope="module")
def with_head(bundle, checkpoint, tmp_path_factory):
    """with_head(folder): a pipeline of the bundle's graph with the modules of the checkpoint in `folder`. All variants have one encoder."""
    loaded = load_checkpoint(checkpoint, task="text-embedding")

    def make(folder):
        out = tmp_path_factory.mktemp("variant") / "bundle"
        copytree(bundle, out)
        head = embedding_head(replace(loaded, folder=folder), out, quiet)
        write_manifest(out, replace(read_manifest(bundle), head=head, files=describe_files(out)))
        return zen_edge.load(out, threads=1)

    return make


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_vectors_as_sentence_transformers(with_head, tmp_path, variant):
    RECORD["write_checkpoint"](tmp_path, variant)
    found = with_head(tmp_path)(TEXTS, overflow="truncate", **VARIANTS[variant][2])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, VECTORS[variant], atol=2e-5)


def test_alone_and_among_others(embed):
    found = embed(TEXTS[:4])
    assert found.shape == (4, 32) and embed(TEXTS[0]).shape == (32,)
    for text, vector in zip(TEXTS, found, strict=False):
        np.testing.assert_allclose(embed(text), vector, atol=1e-6)
    assert embed([]).shape[0] == 0


def test_texts_that_have_no_vector(embed):
    found = embed.generate_each([TEXTS[0], TEXTS[4], 3, "\ud800"])
    assert [type(one) for one in found] == [list, InputError, InputError, InputError]
    assert "tokens, and the model takes 40" in str(found[1])
    with pytest.raises(InputError, match="input 2 of 2: expected a text"):
        embed(["x", None])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"overflow": "split"}, "there are: error, truncate"),
        ({"prompt_name": "document"}, "not one of the model's: passage, query"),
        ({"prompt": "x", "prompt_name": "query"}, "left out beside it"),
        ({"promt": "x"}, "did you mean prompt"),
    ],
)
def test_options_that_are_refused(embed, options, said):
    with pytest.raises(OptionError, match=said):
        embed("x", **options)


def test_the_command_line(bundle, embed):
    done = CliRunner().invoke(app, ["run", str(bundle), "--json", TEXTS[0], TEXTS[4]])
    one, other = map(json.loads, done.stdout.splitlines())
    np.testing.assert_allclose(one["embedding"], embed(TEXTS[0]), atol=1e-6)
    assert "40" in other["error"] and done.exit_code == 1
    line = CliRunner().invoke(app, ["run", str(bundle), TEXTS[4], "--overflow", "truncate"]).stdout
    np.testing.assert_allclose([float(number) for number in line.split()], VECTORS["mean"][4], atol=2e-5)


def test_a_plain_checkpoint_is_pooled_by_the_mean_and_says_so(with_head, checkpoint, tmp_path):
    copytree(checkpoint, tmp_path / "plain")
    (tmp_path / "plain" / "modules.json").unlink()
    said = []
    head = embedding_head(replace(load_checkpoint(checkpoint, task="text-embedding"), folder=tmp_path / "plain"), tmp_path, said.append)
    assert head["pooling"] == ["mean"] and head["steps"] == []
    assert any("mean of its tokens" in step for step in said)
    found = with_head(tmp_path / "plain")(TEXTS[:2])
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1)[:, None], VECTORS["mean"][:2], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("modules.json", "[", CheckpointError, "modules.json of the checkpoint is not JSON"),
        ("modules.json", '[{"path": "", "type": "x.Transformer"}, {"path": "1", "type": "x.CNN"}]', UnsupportedModelError, "Transformer, CNN"),
        ("1_Pooling/config.json", '{"pooling_mode": "middle"}', UnsupportedModelError, "pooling by middle"),
        ("sentence_bert_config.json", '{"do_lower_case": true}', None, ""),
    ],
)
def test_files_that_are_refused(checkpoint, tmp_path, name, content, error, said):
    copytree(checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / name).write_text(content)
    loaded = replace(load_checkpoint(checkpoint, task="text-embedding"), folder=tmp_path / "checkpoint")
    if error is None:  # the tokenizer makes lower case by itself
        assert embedding_head(loaded, tmp_path, quiet)["pooling"] == ["mean"]
        return
    with pytest.raises(error, match=said):
        embedding_head(loaded, tmp_path, quiet)


def test_modules_outside_of_the_checkpoint_are_not_read(checkpoint, tmp_path):
    copytree(checkpoint, tmp_path / "checkpoint")
    rows = json.loads((checkpoint / "modules.json").read_text())
    rows[1]["path"] = "../elsewhere"
    (tmp_path / "checkpoint" / "modules.json").write_text(json.dumps(rows))
    with pytest.raises(CheckpointError, match="outside of the checkpoint"):
        embedding_head(replace(load_checkpoint(checkpoint, task="text-embedding"), folder=tmp_path / "checkpoint"), tmp_path, quiet)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"pooling": [], "steps": []},
        {"pooling": ["middle"], "steps": []},
        {"pooling": ["mean"], "steps": [{"kind": "dense", "file": "../x.npz", "activation": "tanh"}]},
        {"pooling": ["mean"], "steps": [{"kind": "rotate"}]},
        {"pooling": ["mean"], "steps": [3]},
    ],
)
def test_manifests_that_anyone_wrote(bundle, tmp_path, head):
    rmtree(tmp_path)
    copytree(bundle, tmp_path)
    write_manifest(tmp_path, replace(read_manifest(bundle), head=head))
    with pytest.raises(BundleError):
        zen_edge.load(tmp_path)


def test_vectors_on_the_path_that_a_gpu_takes(bundle, embed, load_bound):
    with load_bound(bundle) as bound:
        assert np.array_equal(bound(TEXTS[:4]), embed(TEXTS[:4]))
        assert bound.placement().keys() == {"encoder.onnx"}
