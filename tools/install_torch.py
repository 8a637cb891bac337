"""Install PyTorch into the environment that runs this script: a CPU build wherever no NVIDIA GPU is found.

On Linux a plain `pip install torch` brings several gigabytes of CUDA libraries, GPU or not. So, in order:

1. A PyTorch that is already here and new enough stays.
2. Where it can use a GPU, or where pip's own build is a CPU build anyway (macOS, Windows): plain pip.
3. A CPU build that pip can reach as it is configured here (a local wheel, a mirror, an extra index).
4. A CPU build from PyTorch's own index, which uv knows by name (`--torch-backend=cpu`).

Nothing else is tried: a gigabyte download that nobody asked for is worse than a clear message.
"""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# A version with a published CPU build, for pip, which can ask for a CPU build only by its full version.
CPU_BUILD = "torch==2.13.0+cpu"

ADVICE = f"""
No CPU build of PyTorch could be installed; the messages say why. What you can do:
  - if this machine is offline, or uses a mirror: make a CPU wheel known to pip (PIP_FIND_LINKS=folder, or
    PIP_EXTRA_INDEX_URL=address of an index) and run the same command again;
  - or install any PyTorch yourself with {sys.executable} -m pip install ...
    (the selector on pytorch.org names the command) and run the same command again;
  - or, if several gigabytes of CUDA libraries are fine: {sys.executable} -m pip install torch
"""


def required(pyproject: Path = PYPROJECT) -> str:
    """Return the requirement on torch that the `recorder` extra states, such as `torch>=2.6`."""
    extras = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    (requirement,) = [entry for entry in extras["recorder"] if entry.startswith("torch")]
    return str(requirement)


def installed() -> str | None:
    """Return the version of the PyTorch that is here, or None."""
    if importlib.util.find_spec("torch") is None:
        return None
    return importlib.metadata.version("torch")


def has_gpu() -> bool:
    """Return whether an NVIDIA driver with a GPU answers."""
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and "GPU" in answer.stdout


def plans(requirement: str, constraints: str, system: str, gpu: bool) -> list[list[list[str]]]:
    """Return what to try, in order: each plan a list of commands that must all succeed.

    `requirement` is a pip requirement, `constraints` the file of versions for what it needs in turn, `system` what
    `platform.system()` says, `gpu` whether a GPU was found.
    """
    tested = ["--constraint", constraints]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *tested]
    if system != "Linux" or gpu:
        return [[[*pip, requirement]]]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "--torch-backend=cpu", *tested]
    return [[[*pip, CPU_BUILD]], [[*pip, "uv"], [*uv, requirement]]]


def is_enough(version: str, requirement: str) -> bool:
    """Return whether `version` meets the lower bound of `requirement`, by its first two numbers."""
    wanted = requirement.partition(">=")[2].partition(",")[0]
    return [int(part) for part in version.split(".")[:2]] >= [int(part) for part in wanted.split(".")[:2]]


def main(constraints: str) -> int:
    """Install PyTorch, or keep the one that is here; return the exit status."""
    requirement = required()
    version = installed()
    if version is not None and is_enough(version, requirement):
        print(f"PyTorch {version} is here already.")
        return 0
    gpu = has_gpu()
    print(f"Installing PyTorch ({'for the GPU found here' if gpu else 'no NVIDIA GPU found: a CPU build'}) ...")
    unheard = ""
    *first, last = plans(requirement, constraints, platform.system(), gpu)
    for commands in first:
        answers = [subprocess.run(command, capture_output=True, text=True) for command in commands]
        if all(answer.returncode == 0 for answer in answers):
            return 0
        unheard += "".join(answer.stderr for answer in answers)
    if all(subprocess.run(command).returncode == 0 for command in last):
        return 0
    print(unheard + ADVICE, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
