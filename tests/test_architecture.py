"""The house keeps its shape: who may import whom, read from the files themselves."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("app", "data_model", "tracker")

# What each room may never import, wherever in the file the import stands.
DISPLAY = ("panel", "panel_material_ui", "holoviews", "datashader", "bokeh")
FORBIDDEN = {
    "data_model": ("torch", "sklearn", "deeptracker.app", "deeptracker.tracker", *DISPLAY),
    "tracker": ("deeptracker.app", *DISPLAY),
    "app": ("torch", "sklearn", "deeptracker.tracker"),
}
# Which extras of pyproject.toml a room may draw on, besides the core dependencies.
EXTRAS = {
    "data_model": ("cloud", "cluster", "export"),
    "tracker": ("recorder", "demo", "gpu", "integrations"),
    "app": ("viewer",),
}
# The command line may start the demo training, but only where the command runs: importing it needs no torch.
LATE = {("app", "deeptracker.tracker")}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
IMPORTING = ("importlib.import_module", "import_module", "__import__")


class Import(NamedTuple):
    """One imported module, by its full dotted name."""

    module: str
    line: int
    late: bool  # in a function, or for the type checker alone: importing the file does not import the module


def is_for_types_only(node: ast.AST) -> bool:
    """Return whether a node is an `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imports_of(source: str, module: str) -> Iterator[Import]:
    """Yield everything `source`, the text of `module`, imports; `from a import b` yields `a` and `a.b`."""
    tree = ast.parse(source)
    later = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS) or is_for_types_only(node)]
    inside = {id(node) for outer in later for node in ast.walk(outer)}
    for node in ast.walk(tree):
        late = id(node) in inside
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*package, *([node.module] if node.module else [])])
            yield Import(start, node.lineno, late)
            yield from (Import(f"{start}.{alias.name}", node.lineno, late) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTING:
            yield from (
                Import(str(name.value), node.lineno, late) for name in node.args[:1] if isinstance(name, ast.Constant)
            )


def forbidden_imports(room: str, source: str, module: str) -> list[str]:
    """Return what `source` in `room` imports although the room must not, as `line: module`."""
    found = []
    for name, line, late in imports_of(source, module):
        banned = next((root for root in FORBIDDEN[room] if name == root or name.startswith(f"{root}.")), None)
        excused = late and (room, banned) in LATE and re.search(r"\bcommands?\b", module) is not None
        if banned and not excused:
            found.append(f"{line}: {name}")
    return found


def files_of(room: str) -> list[Path]:
    """Return every Python file of a room."""
    return sorted((ROOT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the dotted name under which a room's file is imported."""
    parts = ["deeptracker", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts if parts[-1] != "__init__" else parts[:-1])


EVERY_FILE = [path for room in ROOMS for path in files_of(room)]
each_file = pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: str(path.relative_to(ROOT)))


@each_file
def test_imports_follow_the_arrows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    assert forbidden_imports(room, path.read_text(encoding="utf-8"), module_of(path)) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("data_model", "import torch.nn"),
        ("data_model", "def late():\n    from deeptracker import tracker"),
        ("data_model", "from ..app import theme"),
        ("data_model", "if True:\n    import holoviews as hv"),
        ("tracker", "import importlib\nimportlib.import_module('panel')"),
        (
            "tracker",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from deeptracker.app import page",
        ),
        ("app", "from torch import Tensor"),
        ("app", "from deeptracker.tracker import demo"),
    ],
)
def test_a_wrong_import_would_be_found(room: str, source: str) -> None:
    assert forbidden_imports(room, source, f"deeptracker.{room}.example")


def test_only_the_command_line_may_start_the_demo_and_only_late() -> None:
    late = "def demo():\n    from deeptracker.tracker.demo import train"
    assert not forbidden_imports("app", late, "deeptracker.app.command")
    assert forbidden_imports("app", late, "deeptracker.app.views.layers")
    assert forbidden_imports("app", "from deeptracker.tracker.demo import train", "deeptracker.app.command")


@functools.cache
def declared(extras: tuple[str, ...]) -> set[str]:
    """Return the import names of the core dependencies and of the extras' own, without their dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = {re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-") for requirement in wanted}
    distributions = importlib.metadata.packages_distributions()
    return {module for module, owners in distributions.items() if names & {o.lower().replace("_", "-") for o in owners}}


@each_file
def test_every_imported_package_is_a_declared_dependency(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    roots = {name.partition(".")[0] for name, _, _ in imports_of(path.read_text(encoding="utf-8"), module_of(path))}
    allowed = declared(EXTRAS[room]) | set(sys.stdlib_module_names) | {"deeptracker"}
    assert roots - allowed == set(), "add the package to pyproject.toml, or do without it"


def import_graph() -> dict[str, set[str]]:
    """Return, for every module of ours, the modules of ours that importing it imports."""
    names = {module_of(path) for path in EVERY_FILE}
    graph: dict[str, set[str]] = {}
    for path in EVERY_FILE:
        used = {
            found.module
            for found in imports_of(path.read_text(encoding="utf-8"), module_of(path))
            if not found.late and found.module in names
        }
        graph[module_of(path)] = used - {module_of(path)}
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules that (transitively) import each other; empty where there is no circle."""
    left = {module: set(used) for module, used in graph.items()}
    while free := {module for module, used in left.items() if not used & left.keys()}:
        left = {module: used for module, used in left.items() if module not in free}
    return sorted(left)


def test_no_module_imports_itself_through_others() -> None:
    # A package's __init__ that offers its files' names is imported by those files' package, not in a circle.
    graph = {module: used for module, used in import_graph().items()}
    assert circle_in(graph) == []


def test_a_circle_would_be_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_no_view_imports_another_view() -> None:
    graph, shared = import_graph(), {"deeptracker.app.views.base"}
    views = {module for module in graph if module.startswith("deeptracker.app.views.")} - shared
    assert {module: graph[module] & views for module in views if graph[module] & views} == {}


def private_names(source: str) -> tuple[set[str], dict[str, int]]:
    """Return the private attributes that a file makes itself, and those it reads, with a line."""
    made: set[str] = set()
    read: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            made.add(node.id)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                made.add(node.attr)
            else:
                read.setdefault(node.attr, node.lineno)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deeptracker"):
            read.update({alias.name: node.lineno for alias in node.names})
    is_private = re.compile(r"_[^_]").match
    return {name for name in made if is_private(name)}, {name: n for name, n in read.items() if is_private(name)}


def test_no_file_reads_a_private_name_of_another() -> None:
    files = {path: private_names(path.read_text(encoding="utf-8")) for path in EVERY_FILE}
    ours = set().union(*(made for made, _ in files.values()))
    reached = [
        f"{path.relative_to(ROOT)}:{line} reads {name}"
        for path, (made, read) in files.items()
        for name, line in read.items()
        if name in ours - made
    ]
    assert reached == []
