"""Small networks and training loops for the recorder's tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Mixed(nn.Module):
    """Every kind of layer at once: plain, grouped, depthwise, transposed, 1-d, shared, frozen, without a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 8, 3, groups=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.sequence = nn.Conv1d(6, 5, 3)
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(5, 5)
        self.frozen.weight.requires_grad_(False)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.up(self.depthwise(self.grouped(x)))
        x = functional.relu(self.sequence(x.flatten(2))).mean(2)
        return self.head(self.frozen(self.second(self.first(x))))


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimizer is given."""
    return [one for one in model.parameters() if one.requires_grad]


def batch(step: int, count: int = 8) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(step)
    x = torch.randn(count, 1, 6, 6, generator=random)
    return x, torch.randint(0, 3, (count,), generator=random)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 3))


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    log: Callable[..., None] | None = None,
    seen: Callable[[int], None] | None = None,
    first: int = 0,
) -> list[float]:
    """Train on random data and return the losses; `log` as `Recorder.log`, `seen` after each step."""
    losses = []
    for step in range(first, first + steps):
        x, y = batch(step)
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if log is not None:
            log(loss=loss)
        optimizer.step()
        losses.append(loss.item())
        if seen is not None:
            seen(step)
    return losses
