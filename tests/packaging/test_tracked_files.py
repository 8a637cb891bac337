"""Nothing in the repository depends on the machine it was written on, or on a network."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Sources that texts and docstrings cite, a namespace that is a name and not an address, and the machine itself.
ALLOWED_HOSTS = {"arxiv.org", "doi.org", "www.w3.org", "127.0.0.1", "0.0.0.0"}
# Names that no public host has: a single word, or an ending kept for examples.
MADE_UP = re.compile(r"[\w-]+|.*\.(example|test|invalid|localhost)")
HOME = re.compile(r"(?<![\w.])/(?:home|Users|root|opt)/\w+")


def tracked_texts() -> dict[str, str]:
    """Return the text of every file that git tracks, without links and binary files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink() and b"\0" not in (content := path.read_bytes()):
            texts[name] = content.decode("utf-8")
    return texts


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    here = f"{ROOT.parent}/" if ROOT.parent != Path("/") else str(ROOT)
    found = {name: [*HOME.findall(text), *([here] if here in text else [])] for name, text in tracked_texts().items()}
    assert {name: paths for name, paths in found.items() if paths} == {}


@pytest.mark.parametrize("folder", ["home/ann", "root/data", "Users/ann"])
def test_such_a_folder_would_be_found(folder: str) -> None:
    assert HOME.search(f"see /{folder}/runs")
    assert not HOME.search(f"see runs/{folder}")


def test_addresses_in_the_repository_are_citations_or_local() -> None:
    hosts = {
        (name, host)
        for name, text in tracked_texts().items()
        for host in re.findall(r"\b(?:https?|wss?)://([\w.-]+)", text)
        if host not in ALLOWED_HOSTS and not MADE_UP.fullmatch(host)
    }
    assert hosts == set()


def test_the_links_that_make_the_package_are_relative() -> None:
    for name in ("app", "data_model", "tracker", "assets"):
        assert (ROOT / "deeptracker" / name).readlink() == Path("..", name)
