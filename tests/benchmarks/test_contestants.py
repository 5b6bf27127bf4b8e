"""Who may take part, and what is made for them."""

from pathlib import Path

import pytest

from zen_edge.benchmarks import cache
from zen_edge.benchmarks.bench import Shape, bench
from zen_edge.benchmarks.contestants import Contestant, Failure, asked_for, find_model, of_bundles, of_engines
from zen_edge.benchmarks.engines import Engine, engine, known
from zen_edge.benchmarks.measure import Setting
from zen_edge.errors import BundleError, CheckpointError, OptionError, ZenEdgeError
from zen_edge.inputs import BUILT_IN


def quiet(step: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZEN_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_the_registry() -> None:
    assert known() == ["ctranslate2", "faster_whisper", "openvino", "optimum", "torch", "zen_edge"]
    for name in known():
        found = engine(name)
        assert found.precisions and found.packages and found.install
        assert found.file.name == f"{name}.py"
    assert engine("ctranslate2").converts and not engine("torch").converts
    assert not engine("torch").environment


@pytest.mark.parametrize("name", ["optimum", "openvino"])
def test_an_own_environment_pins_torch(name: str) -> None:
    assert engine(name).converts
    assert any(requirement.startswith("torch==") for requirement in engine(name).environment)


def test_engines_are_asked_for_by_name_and_precision() -> None:
    assert [(one.name, precision) for one, precision in asked_for(["ctranslate2", "torch", "ctranslate2:fp32", "torch:fp32"])] == [
        ("ctranslate2", "int8"),
        ("torch", "fp32"),
        ("ctranslate2", "fp32"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ctranslate", r"no engine 'ctranslate'; did you mean ctranslate2\? There are: .*benchmarks/engines/ctranslate.py"),
        ("../x", r"no engine '../x'\. .*benchmarks/engines/NAME.py"),
        ("torch:int3", r"torch has no precision 'int3'; there are: torch:fp32, torch:bf16"),
        ("zen-edge", "give its bundles as arguments"),
    ],
)
def test_an_unknown_engine_is_told_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(ZenEdgeError, match=message):
        asked_for([text])


def test_an_engine_that_is_not_installed_is_a_failure_and_the_others_go_on(fake_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    missing = Engine("missing", fake_engine.file, ("int8",), ("no-such-package",), "pip install no-such-package", (), converts=False)
    first, second, third = of_engines([(missing, "int8"), (fake_engine, "broken"), (fake_engine, "good")], tmp_path, quiet)
    assert first == Failure("missing", "int8", "no-such-package: not installed: pip install no-such-package")
    assert second == Failure("fake", "broken", "OSError: no such checkpoint")
    assert isinstance(third, Contestant)


def test_a_checkpoint_is_converted_once_and_again_when_it_changes(fake_engine: Engine, tmp_path: Path, own_cache: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    steps: list[str] = []
    for content in ("1", "1", "2"):
        (model / "config.json").write_text(content)
        (found,) = of_engines([(fake_engine, "good")], model, steps.append)
        assert isinstance(found, Contestant)
        assert (found.folder / "model.bin").read_text() == f"made from {content}"
        assert found.folder.is_relative_to(own_cache)
        assert found.disk_mb == pytest.approx(11e-6)
    assert len(steps) == 2


def test_what_fails_leaves_nothing_in_the_cache(own_cache: Path) -> None:
    def fail(out: Path) -> None:
        out.mkdir()
        (out / "half").touch()
        raise ZenEdgeError("no")

    with pytest.raises(ZenEdgeError):
        cache.made_once(own_cache / "kind" / "name", fail)
    assert list((own_cache / "kind").iterdir()) == []


def test_pip_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ZenEdgeError, match=r"fake: pip could not install no-such-package==1: ERROR: "):
        cache.environment("fake", ["no-such-package==1"], quiet)


def test_bundles_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        of_bundles([tmp_path])


def test_bundles_a_second_time(demo_fp32: Path) -> None:
    assert [one.name for one in of_bundles([demo_fp32], batched=True)] == ["zen-edge fp32", "zen-edge fp32-batched"]
    assert [one.precision for one in of_bundles([demo_fp32], batched=True)] == ["fp32", "fp32-batched"]
    with pytest.raises(OptionError, match="batched is for speech that is heard in windows"):
        bench([demo_fp32], [], None, [Shape(1, 1)], BUILT_IN, Setting(1, 8), batched=True)


def test_the_model_is_a_folder(demo_checkpoint: Path, tmp_path: Path) -> None:
    assert find_model(str(demo_checkpoint), []) == demo_checkpoint.resolve()
    with pytest.raises(CheckpointError, match="is no checkpoint folder"):
        find_model(str(tmp_path), [])
