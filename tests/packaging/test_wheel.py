"""What people install: the wheel, built from the source archive as the registry's users get it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"


def build(kind: str, source: Path, target: Path) -> Path:
    """Build the `sdist` or `wheel` of the project in `source`; return its path in `target`."""
    command = [sys.executable, "-c", BUILD.format(kind=kind), str(target)]
    answer = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return target / answer.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive from a copy of what git tracks, so that nothing of this checkout slips in."""
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        origin, copy = ROOT / name, folder / "checkout" / name
        if name and (origin.is_symlink() or origin.is_file()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(origin.readlink()) if origin.is_symlink() else copy.write_bytes(origin.read_bytes())
    return build("sdist", folder / "checkout", folder)


@pytest.fixture(scope="module")
def wheel(source_archive: Path) -> Path:
    """Build the wheel from the unpacked source archive."""
    folder = source_archive.parent
    with tarfile.open(source_archive) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / source_archive.name.removesuffix(".tar.gz"), folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment that borrows only the dependencies; return its `bin` folder.

    The borrowed folder stands on a plain path line, so the editable install in it is not followed.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    place = "import sysconfig; print(sysconfig.get_path('purelib'))"
    python = scripts / "python"
    site = subprocess.run([python, "-c", place], capture_output=True, text=True, check=True).stdout.strip()
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run([*install, "--ignore-installed"], check=True, timeout=120)
    return scripts


def test_the_wheel_holds_every_tracked_file_of_the_rooms_once(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tracked = subprocess.run(
        ["git", "ls-files", "app", "data_model", "tracker", "assets"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    wanted = {f"deeptracker/{name}" for name in tracked} | {"deeptracker/__init__.py", "deeptracker/py.typed"}
    assert len(wanted) > 10
    assert wanted - set(names) == set()
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {root.partition("-")[0] for root in roots} == {"deeptracker"}


def test_the_wheel_carries_licence_and_extras(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    text = archive.read(metadata).decode()
    assert "License-Expression: BSD-3-Clause" in text
    for extra in ("recorder", "viewer", "demo"):
        assert f"Provides-Extra: {extra}\n" in text
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


def test_the_installed_package_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    question = "import deeptracker; print(deeptracker.__file__)"
    answer = subprocess.run([installed / "python", "-c", question], cwd=tmp_path, capture_output=True, text=True)
    assert answer.stdout.startswith(str(installed.parent)), answer.stderr


def test_the_installed_command_tells_of_a_run(installed: Path, recorded_run: Path, tmp_path: Path) -> None:
    command = [installed / "deeptracker", "info", str(recorded_run), "--json"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)


def test_the_installed_app_finds_its_assets(installed: Path, recorded_run: Path, tmp_path: Path) -> None:
    code = "import sys, deeptracker as d; d.open_run(sys.argv[1]).view().__panel__(); print('built')"
    command = [installed / "python", "-c", code, str(recorded_run)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert answer.stdout.strip().endswith("built"), answer.stderr
