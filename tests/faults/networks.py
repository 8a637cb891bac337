"""The networks that faults are put into: a small residual CNN with batch norm (11 layers), and one without (6)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

WIDTH = 8


class SmallNet(nn.Module):
    """Five convolutions, the fourth with a shortcut around it, and one linear layer, for 8x8 images."""

    def __init__(self, normed: bool, classes: int = 10) -> None:
        super().__init__()
        widths = [1, WIDTH, 2 * WIDTH, 2 * WIDTH, 2 * WIDTH, 4 * WIDTH]
        strides = [2, 2, 1, 1, 1]
        for number, stride in enumerate(strides, 1):
            inputs, outputs = widths[number - 1 : number + 1]
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not normed)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"norm{number}", nn.BatchNorm2d(outputs) if normed else nn.Identity())
        self.fc = nn.Linear(widths[-1], classes)

    def block(self, number: int, x: Tensor) -> Tensor:
        """Return the output of a convolution and its normalisation."""
        y: Tensor = self.get_submodule(f"norm{number}")(self.get_submodule(f"conv{number}")(x))
        return y

    def forward(self, x: Tensor) -> Tensor:
        for number in (1, 2, 3):
            x = functional.relu(self.block(number, x))
        x = functional.relu(self.block(4, x) + x)
        x = functional.relu(self.block(5, x))
        return self.fc(x.mean((2, 3)))
