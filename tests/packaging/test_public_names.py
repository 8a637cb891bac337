"""Every name a person can use says what it is for."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
from pathlib import Path

import param
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("main", "__main__")


def every_module() -> list[str]:
    """Return the name of every module of the package, without the scripts, which act when they are imported."""
    package = importlib.import_module("deeptracker")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, "deeptracker.")]
    return [name for name in names if name.rpartition(".")[2] not in SCRIPTS]


def parameterized_classes() -> list[type[param.Parameterized]]:
    """Return every Param class that the package defines."""
    found: set[type[param.Parameterized]] = set()
    for name in every_module():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, param.Parameterized):
                found.add(value)
    return sorted((c for c in found if c.__module__.startswith("deeptracker.")), key=lambda c: c.__qualname__)


def test_every_file_is_found_as_a_module() -> None:
    files = [
        path.relative_to(ROOT) for room in ("app", "data_model", "tracker") for path in (ROOT / room).rglob("*.py")
    ]
    names = {".".join(["deeptracker", *path.with_suffix("").parts]).removesuffix(".__init__") for path in files}
    assert set(every_module()) == {name for name in names if name.rpartition(".")[2] not in SCRIPTS}


# Ignite, which an adapter imports, compiles parts of itself in a way that torch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_every_parameter_says_what_it_is_for_and_numbers_have_bounds() -> None:
    lacking = []
    for owner in parameterized_classes():
        for name, parameter in owner.param.objects("existing").items():
            if name == "name" or name not in vars(owner):
                continue
            if not parameter.doc:
                lacking.append(f"{owner.__qualname__}.{name} has no doc=")
            if isinstance(parameter, param.Number) and parameter.bounds in (None, (None, None)):
                lacking.append(f"{owner.__qualname__}.{name} has no bounds=")
    assert lacking == []


def test_every_public_name_is_documented_and_used_in_a_test() -> None:
    package = importlib.import_module("deeptracker")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    for name in package.__all__:
        assert (getattr(package, name).__doc__ or "").strip(), f"deeptracker.{name} has no docstring"
        assert re.search(rf"\b{name}\b", tests), f"no test mentions deeptracker.{name}"
    assert set(package.__all__) <= set(dir(package))


def test_the_version_is_written_in_one_place() -> None:
    package = importlib.import_module("deeptracker")
    assert re.fullmatch(r"\d+\.\d+\.\d+", package.__version__)
    assert importlib.metadata.version("deeptracker") == package.__version__
