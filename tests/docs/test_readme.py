"""What the README says can be done can be done: its Python runs, and its commands exist with their options."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sysconfig
import tomllib
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeptracker import open_run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[str]:
    """Yield every command of the README, in its blocks and between backticks, without comments."""
    for block in blocks("sh"):
        yield from (line.partition("#")[0].strip() for line in block.splitlines() if line.strip())
    for phrase in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)):
        if re.search(r"(^|\s)(make|deeptracker|pip) \w", phrase):
            yield phrase


def help_of(*command: str) -> str:
    """Return the help text of a `deeptracker` command."""
    executable = shutil.which("deeptracker", path=sysconfig.get_path("scripts"))
    assert executable, "the `deeptracker` command is not installed"
    answer = subprocess.run([executable, *command, "--help"], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_command_exists(command: str) -> None:
    words = [word for word in shlex.split(command) if not re.match(r"CHROMIUM=", word)]
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        assert targets
        for target in targets:
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"the Makefile has no target {target}"
        for option in (word.partition("=")[0] for word in words[1:] if "=" in word):
            assert f"$({option})" in MAKEFILE, f"the Makefile knows no {option}"
    elif words[0] == "deeptracker":
        assert help_of(words[1])
    elif words[0] == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = re.findall(r"\[([\w,]+)\]", command)[0].split(",")
        assert set(extras) <= set(project["optional-dependencies"])
    else:
        pytest.fail(f"the README shows a command that no test knows: {command}")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("serve", ("--port", "--address")),
        ("info", ("--json",)),
        ("check", ("--repair",)),
        ("index", ("--scheduler",)),
        (
            "export",
            ("--family", "--statistic", "--layer", "--class", "--image", "--block", "--iterations", "--buckets"),
        ),
        ("demo", ("--network", "--no-serve")),
    ],
)
def test_the_options_that_the_readme_names_exist(command: str, options: tuple[str, ...]) -> None:
    text = help_of(command)
    for option in options:
        assert option in README
        assert option in text


def test_every_command_and_every_make_target_is_in_the_readme_or_the_help() -> None:
    listed = re.findall(r"^(\w+):.*## ", MAKEFILE, re.MULTILINE)
    phony = re.search(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert sorted(phony.group(1).split()) == sorted(listed), "a target lacks its line of help"
    subcommands = re.findall(r"^    (\w+) {2,}\S", help_of(), re.MULTILINE)
    assert {"demo", "serve", "info"} <= set(subcommands)
    for name in subcommands:
        assert f"deeptracker {name}" in README or f"make {name}" in README, f"the README is silent on `{name}`"


def test_every_file_that_the_readme_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).is_file(), f"{target} is missing"


def users_objects() -> dict[str, object]:
    """Return what a user has at hand before recording: a model, an optimizer and data, small here."""
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        OrderedDict(
            conv1=torch.nn.Conv2d(1, 4, 3),
            layer3=torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1)),
            flat=torch.nn.Flatten(),
            fc=torch.nn.Linear(144, 3),
        )
    )
    images, labels = torch.randn(24, 1, 8, 8), torch.arange(24) % 3
    return {
        "torch": torch,
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "criterion": torch.nn.CrossEntropyLoss(),
        "epochs": 3,
        "train_loader": [(images[start : start + 8], labels[start : start + 8]) for start in (0, 8, 16)],
        "validation_loader": [([f"image-{n}" for n in range(24)], images, labels)],
    }


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = users_objects()
    examples = [example for example in blocks("python") if "integrations" not in example]
    assert len(examples) == 4
    for number, example in enumerate(examples):
        exec(compile(example, f"README.md, example {number + 1}", "exec"), names)
    names["recorder"].close()
    statistics = {one.name for one in open_run("runs/more").layer_statistics}
    assert "spectral_norm" in statistics
    assert names["run"].scalars.loss.sizes["iteration"] == 9
    assert names["run"].validation.sizes == {"validation": 3, "image": 24}
    assert names["run"].state == "closed"
    assert "layers" in names["tree"].children


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`:UserWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_adapters_of_the_readme_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import accelerate
    import pytorch_lightning
    import transformers
    from ignite.engine import Engine

    monkeypatch.chdir(tmp_path)
    users = users_objects()
    users |= {"accelerator": accelerate.Accelerator(cpu=True), "evaluator": Engine(lambda *_: None)}
    users |= {"names": ["one"], "arguments": transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True)}
    trainers = {
        "lightning": pytorch_lightning.Trainer,
        "transformers": transformers.Trainer,
        "accelerate": None,
        "ignite": None,
    }
    examples = [example for example in blocks("python") if "integrations" in example]
    for (name, trainer), example in zip(trainers.items(), examples, strict=True):
        assert f"integrations.{name} import" in example
        names = {**users, "Trainer": trainer, "trainer": Engine(lambda *_: None)}
        exec(compile(example, f"README.md, {name}", "exec"), names)
        if name == "accelerate":
            names["recorder"].close()
    files = {path.stem for path in (ROOT / "tracker" / "integrations").glob("*.py")} - {"__init__", "judging"}
    assert files == set(trainers)
