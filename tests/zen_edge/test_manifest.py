"""A manifest is either sound or a BundleError in one line, whoever wrote it."""

import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zen_edge.errors import BundleError
from zen_edge.files import LARGEST_MANIFEST, MANIFEST
from zen_edge.manifest import FORMAT, Manifest, describe_files, read_manifest, with_parity, write_manifest


def refusal(call: Callable[[], object]) -> str:
    """The message of the BundleError, which is one printable line of bearable length."""
    with pytest.raises(BundleError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1500, message
    return message


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest on disk without looking whether the result is sound."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_is_written_is_read_back(bundle: Path) -> None:
    manifest = read_manifest(bundle, hashes=True)
    assert manifest.graph("encoder").inputs[0].shape == ("B", "S")
    assert manifest.graph("encoder").nodes[1].inputs == ("float32", "float32", "float32", "", "int32")
    assert manifest.files == describe_files(bundle) and set(manifest.files) == {"encoder.onnx", "tokenizer/vocab.json"}
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_text_is_sorted_and_the_same_every_time(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    turned = replace(manifest, generation=dict(reversed(manifest.generation.items())), files=dict(reversed(manifest.files.items())))
    assert turned.to_json() == manifest.to_json() == (bundle / MANIFEST).read_text()
    keys = list(json.loads(manifest.to_json()))
    assert keys == sorted(keys)
    assert max(map(len, manifest.to_json().splitlines())) < 200


def test_parity_is_kept(bundle: Path) -> None:
    manifest = with_parity(read_manifest(bundle), {"passed": True, "outputs": []})
    write_manifest(bundle, manifest)
    assert read_manifest(bundle).parity == {"passed": True, "outputs": []}
    assert sorted(path.name for path in bundle.iterdir()) == ["encoder.onnx", "tokenizer", MANIFEST]


def test_unsound_manifest_is_not_written(bundle: Path) -> None:
    manifest, before = read_manifest(bundle), (bundle / MANIFEST).read_bytes()
    for generation in ({"x": float("nan")}, {"x": object()}, {"x": "\ud800"}, {1: "a", "b": 2}):
        refusal(lambda generation=generation: write_manifest(bundle, replace(manifest, generation=generation)))
    refusal(lambda: write_manifest(bundle, replace(manifest, precision="int3")))
    assert (bundle / MANIFEST).read_bytes() == before


def test_unknown_graph_lists_the_ones_there(bundle: Path) -> None:
    assert "encoder" in refusal(lambda: read_manifest(bundle).graph("decoder"))


def test_newer_format_says_upgrade(bundle: Path) -> None:
    rewrite(bundle, lambda m: m.update(format=FORMAT + 1, a_key_of_the_future={}))
    assert "pip install --upgrade zen-edge" in refusal(lambda: read_manifest(bundle))


HUGE = 10**400
HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "format text": lambda m: m.update(format="1"),
    "format boolean": lambda m: m.update(format=True),
    "format zero": lambda m: m.update(format=0),
    "format huge": lambda m: m.update(format=HUGE),
    "format missing": lambda m: m.pop("format"),
    "task missing": lambda m: m.pop("task"),
    "unknown key": lambda m: m.update(extra=1),
    "unknown key with a line break": lambda m: m.update({"a\nb\x1b[2J": 1}),
    "task with a line break": lambda m: m.update(task="a\nb"),
    "task of megabytes": lambda m: m.update(task="a" * 3_000_000),
    "precision unknown": lambda m: m.update(precision="int3"),
    "precision a list": lambda m: m.update(precision=["int8"]),
    "device unknown": lambda m: m.update(device="tpu"),
    "no graphs": lambda m: m.update(graphs=[]),
    "graphs an object": lambda m: m.update(graphs={}),
    "thousands of graphs": lambda m: m.update(graphs=m["graphs"] * 5000),
    "graph twice": lambda m: m.update(graphs=m["graphs"] * 2),
    "graph a number": lambda m: m.update(graphs=[3]),
    "graph file unlisted": lambda m: m["graphs"][0].update(file="other.onnx"),
    "graph file outside": lambda m: m["graphs"][0].update(file="../encoder.onnx"),
    "recorded graph of a name that is there": lambda m: m.update(recorded=m["graphs"]),
    "recorded graph file unlisted": lambda m: m.update(recorded=[m["graphs"][0] | {"name": "step", "file": "step.onnx"}]),
    "negative parameters": lambda m: m["graphs"][0].update(parameters=-1),
    "parameters a float": lambda m: m["graphs"][0].update(parameters=1.0),
    "huge parameters": lambda m: m["graphs"][0].update(parameters=HUGE),
    "negative op count": lambda m: m["graphs"][0]["ops"].update(MatMul=-4),
    "input twice": lambda m: m["graphs"][0].update(inputs=m["graphs"][0]["inputs"] * 2),
    "negative dim": lambda m: m["graphs"][0]["inputs"][0].update(shape=[-1, 2]),
    "huge dim": lambda m: m["graphs"][0]["inputs"][0].update(shape=[2**60]),
    "boolean dim": lambda m: m["graphs"][0]["inputs"][0].update(shape=[True]),
    "null dim": lambda m: m["graphs"][0]["inputs"][0].update(shape=[None]),
    "thousands of dims": lambda m: m["graphs"][0]["inputs"][0].update(shape=[1] * 5000),
    "symbol of megabytes": lambda m: m["graphs"][0]["inputs"][0].update(shape=["B" * 1_000_000]),
    "symbol with escapes": lambda m: m["graphs"][0]["inputs"][0].update(shape=["\x1b]0;gotcha\x07"]),
    "empty tensor name": lambda m: m["graphs"][0]["inputs"][0].update(name=""),
    "node version negative": lambda m: m["graphs"][0]["nodes"][0].update(version=-1),
    "node count zero": lambda m: m["graphs"][0]["nodes"][0].update(count=0),
    "generation a list": lambda m: m.update(generation=[]),
    "generation too deep": lambda m: m.update(generation={"a": json.loads("[" * 100 + "]" * 100)}),
    "generation text too long": lambda m: m.update(generation={"a": "x" * 100_000}),
    "generation half a character": lambda m: m.update(generation={"a": "\ud800"}),
    "generation infinite": lambda m: m.update(generation={"a": float("inf")}),
    "limit negative": lambda m: m["limits"].update(vocab_size=-1),
    "limit text": lambda m: m["limits"].update(vocab_size="many"),
    "source nested": lambda m: m["source"].update(name={"a": 1}),
    "version a number": lambda m: m["made_with"].update(torch=2.9),
    "parity a boolean": lambda m: m.update(parity=True),
    "files a list": lambda m: m.update(files=[]),
    "file size negative": lambda m: m["files"]["encoder.onnx"].update(size=-1),
    "file size text": lambda m: m["files"]["encoder.onnx"].update(size="500"),
    "hash too short": lambda m: m["files"]["encoder.onnx"].update(sha256="00"),
    "hash with a line break": lambda m: m["files"]["encoder.onnx"].update(sha256="0" * 64 + "\n"),
    "wrong size": lambda m: m["files"]["encoder.onnx"].update(size=499),
    "listed and missing": lambda m: m["files"].update({"decoder.onnx": m["files"]["encoder.onnx"]}),
    "the manifest itself": lambda m: m["files"].update({MANIFEST: m["files"]["encoder.onnx"]}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_manifest_is_refused(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite(bundle, change)
    assert "bundle" in refusal(lambda: read_manifest(bundle))


OUTSIDE = [
    "", "/etc/passwd", "../secret", "a/../../secret", "./encoder.onnx", "a//b", "a/", "..", ".", "C:\\x", "C:x", "a\\b", "\\\\host\\share",
    "a\nb", "a\x00b", "a\u2028b", "a.", "a ", "x" * 300, "/".join("a" * 20), "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE, ids=ascii)
def test_names_that_could_leave_the_folder_are_refused(bundle: Path, name: str) -> None:
    rewrite(bundle, lambda m: m["files"].update({name: m["files"]["encoder.onnx"]}))
    assert "file name" in refusal(lambda: read_manifest(bundle))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"3", b'"text"', b"{", b"\xff\xfe\x00", b"{}" * 2, b"[" * 100_000, b'{"a":' * 100_000,
        b'{"format": NaN}', b'{"format": 1, "format": 1}', b'{"format": ' + b"9" * 5000 + b"}", b"not json\n\x1b[31m", b"\x80\x04pickle.",
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_what_is_no_manifest_is_refused(bundle: Path, data: bytes) -> None:
    (bundle / MANIFEST).write_bytes(data)
    assert MANIFEST in refusal(lambda: read_manifest(bundle))


def test_a_key_written_twice_is_refused(bundle: Path) -> None:
    text = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(text.replace('"task":', '"task": "summarization", "task":'))
    assert "twice" in refusal(lambda: read_manifest(bundle))


def test_a_manifest_of_many_megabytes_is_not_read(bundle: Path) -> None:
    with (bundle / MANIFEST).open("ab") as file:
        file.truncate(LARGEST_MANIFEST * 1000)
    assert "larger" in refusal(lambda: read_manifest(bundle))


def test_files_on_disk_must_be_those_listed(bundle: Path) -> None:
    (bundle / "extra.bin").write_bytes(b"x")
    assert "'extra.bin'" in refusal(lambda: read_manifest(bundle))
    (bundle / "extra.bin").unlink()
    (bundle / "encoder.onnx").write_bytes(b"short")
    assert "5 bytes instead of 500" in refusal(lambda: read_manifest(bundle))
    (bundle / "encoder.onnx").unlink()
    assert "'encoder.onnx' is missing" in refusal(lambda: read_manifest(bundle))


def test_a_changed_byte_of_a_small_file_is_always_found(bundle: Path) -> None:
    (bundle / "encoder.onnx").write_bytes(b"Graph" * 100)
    assert "sha256" in refusal(lambda: read_manifest(bundle))


def test_a_changed_byte_of_a_large_file_is_found_on_request(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zen_edge.manifest.ALWAYS_HASHED", 10)
    (bundle / "encoder.onnx").write_bytes(b"Graph" * 100)
    read_manifest(bundle)
    assert "sha256" in refusal(lambda: read_manifest(bundle, hashes=True))


def test_folders_that_are_no_bundle(tmp_path: Path, bundle: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path / "a\nb", bundle / "encoder.onnx", tmp_path / "a\x00b"):
        refusal(lambda folder=folder: read_manifest(folder))
    (tmp_path / "empty").mkdir()
    assert "not a bundle" in refusal(lambda: read_manifest(tmp_path / "empty"))


def test_links_are_refused(bundle: Path, tmp_path: Path) -> None:
    graph, target = bundle / "encoder.onnx", tmp_path / "elsewhere.onnx"
    graph.rename(target)
    graph.symlink_to(target)
    assert "is a link" in refusal(lambda: read_manifest(bundle))
    assert "is a link" in refusal(lambda: describe_files(bundle))
    graph.unlink()
    target.rename(graph)
    (bundle / "tokenizer").rename(tmp_path / "tokenizer")
    (bundle / "tokenizer").symlink_to(tmp_path / "tokenizer")
    assert "'tokenizer' is a link" in refusal(lambda: read_manifest(bundle))
    (bundle / "tokenizer").unlink()
    (bundle / MANIFEST).rename(tmp_path / MANIFEST)
    (bundle / MANIFEST).symlink_to(tmp_path / MANIFEST)
    assert "is a link" in refusal(lambda: read_manifest(bundle))


@pytest.mark.parametrize("name", ["encoder.onnx", MANIFEST, "strange"])
def test_a_fifo_does_not_hang(bundle: Path, name: str) -> None:
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)
    assert "not a regular file" in refusal(lambda: read_manifest(bundle, hashes=True))
    assert "not a regular file" in refusal(lambda: describe_files(bundle))


def test_a_socket_is_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert "not a regular file" in refusal(lambda: read_manifest(bundle))


def test_a_folder_nested_without_end_is_refused(bundle: Path) -> None:
    (bundle / "/".join("d" * 50)).mkdir(parents=True)
    assert "nested" in refusal(lambda: read_manifest(bundle))


@pytest.mark.parametrize("name", [b"line\nbreak", b"half\xff"])
def test_hostile_names_on_disk_are_told_in_one_line(bundle: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(bundle) + b"/" + name)).write_bytes(b"x")
    refusal(lambda: read_manifest(bundle))
    refusal(lambda: describe_files(bundle))


VALUES: list[Any] = [None, True, -1, 0, 2**70, 1.5, float("nan"), "", "\n", "../x", "é\x1b", "x" * 5000, [], {}, [[]], {"": None}, {"a\nb": 1}]


def mutate(value: Any, dice: random.Random) -> Any:
    """The value with one thing in it changed, dropped or doubled."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        key = dice.choice(list(value))
        match dice.randrange(8):
            case 0:
                return {k: v for k, v in value.items() if k != key}
            case 1:
                return {**value, dice.choice(["", "new", "a\nb", "../x"]): value[key]}
        return {**value, key: mutate(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        i = dice.randrange(len(value))
        return value * 3 if dice.random() < 0.1 else [*value[:i], mutate(value[i], dice), *value[i + 1 :]]
    return dice.choice(VALUES)


def sound_or_refused(folder: Path) -> bool:
    try:
        manifest = read_manifest(folder, hashes=True)
    except BundleError as error:
        assert str(error).isprintable() and len(str(error)) < 1500
        return False
    assert Manifest.from_json(manifest.to_json()) == manifest
    return True


def test_mutated_manifests_are_sound_or_refused(bundle: Path) -> None:
    dice, original, sound = random.Random(0), json.loads((bundle / MANIFEST).read_text()), 0
    for _ in range(500):
        changed = original
        for _ in range(dice.randint(1, 3)):
            changed = mutate(changed, dice)
        (bundle / MANIFEST).write_text(json.dumps(changed, ensure_ascii=dice.random() < 0.5))
        sound += sound_or_refused(bundle)
    assert 10 < sound < 250  # both sides were reached


def test_mutated_bytes_are_sound_or_refused(bundle: Path) -> None:
    dice, original, sound = random.Random(1), (bundle / MANIFEST).read_bytes(), 0
    for _ in range(500):
        data = bytearray(original)
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randint(0, 3)] = bytes(dice.choice([dice.randrange(256), 0x22, 0x7B, 0x39]) for _ in range(dice.randint(0, 3)))
        (bundle / MANIFEST).write_bytes(data)
        sound += sound_or_refused(bundle)
    assert sound < 400


def test_mutated_folders_are_sound_or_refused(bundle: Path, tmp_path: Path) -> None:
    dice = random.Random(2)
    for i in range(100):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(bundle, copy)
        target = copy / dice.choice(["encoder.onnx", "tokenizer/vocab.json", MANIFEST])
        match dice.randrange(6):
            case 0:
                target.unlink()
            case 1:
                target.write_bytes(target.read_bytes()[: dice.randrange(target.stat().st_size)])
            case 2:
                target.write_bytes(target.read_bytes() + b"x")
            case 3:
                target.rename(target.with_name("other"))
            case 4:
                target.unlink()
                target.mkdir()
            case 5:
                target.with_name("copy").write_bytes(target.read_bytes())
        if target.name == MANIFEST and sound_or_refused(copy):
            continue  # the changed manifest says the same
        refusal(lambda copy=copy: read_manifest(copy))
