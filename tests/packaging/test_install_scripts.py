"""What `make` installs by itself: no CUDA libraries without a GPU, a browser, or a message that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import install_chromium
import install_torch
import pytest


def commands(system: str, gpu: bool) -> list[str]:
    """Return every command that the script would try, as text."""
    plans = install_torch.plans("torch>=2.6", "constraints.txt", system, gpu)
    return [" ".join(command) for plan in plans for command in plan]


def test_without_a_gpu_only_a_cpu_build_is_ever_asked_for() -> None:
    for command in commands("Linux", gpu=False):
        names_cpu = "+cpu" in command or "--torch-backend=cpu" in command
        assert names_cpu or command.endswith("constraints.txt uv")


@pytest.mark.parametrize(("system", "gpu"), [("Linux", True), ("Darwin", False), ("Windows", False)])
def test_elsewhere_the_usual_build_is_asked_for(system: str, gpu: bool) -> None:
    assert [command.split()[-1] for command in commands(system, gpu)] == ["torch>=2.6"]


def test_the_pinned_cpu_build_meets_the_projects_own_bound() -> None:
    assert install_torch.is_enough(install_torch.CPU_BUILD.partition("==")[2], install_torch.required())


@pytest.mark.parametrize(
    ("version", "enough"), [("2.13.0+cpu", True), ("2.6.0", True), ("2.5.1", False), ("10.0", True)]
)
def test_versions_are_compared_as_numbers(version: str, enough: bool) -> None:
    assert install_torch.is_enough(version, "torch>=2.6") is enough


def test_a_pytorch_that_is_here_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing had to be installed"))
    assert install_torch.main("constraints.txt") == 0


def test_when_every_way_fails_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install_torch, "installed", lambda: None)
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert install_torch.main("constraints.txt") == 1
    assert "PIP_FIND_LINKS" in capsys.readouterr().err


def browser_at(path: Path, status: int) -> Path:
    """Write an executable that exits with `status`, as a browser asked for its version does."""
    path.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="executables are shell scripts here")
def test_the_browser_named_by_the_user_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", str(browser_at(tmp_path / "mine", 0)))
    assert install_chromium.find() == tmp_path / "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="executables are shell scripts here")
def test_an_installers_stub_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    browser_at(tmp_path / "chromium", 1)
    real = browser_at(tmp_path / "google-chrome", 0)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(install_chromium, "NAMES", ("chromium", "google-chrome"))
    assert install_chromium.find() == real


def test_a_named_browser_that_does_not_start_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")
    assert install_chromium.main() == 1
    assert "CHROMIUM=/no/such/browser does not start" in capsys.readouterr().err


def test_when_no_browser_can_be_had_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(install_chromium, "candidates", lambda: iter(()))
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert install_chromium.main() == 1
    assert "set CHROMIUM" in capsys.readouterr().err
