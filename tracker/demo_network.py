"""The demo's networks: a small residual CNN, with stages and blocks named as in large ones, and a tiny plain one."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            layers = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
            self.downsample = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, height / stride, width / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class DigitsNet(nn.Sequential):
    """A residual CNN for 8x8 images: three stages of two blocks, 15 convolutions, one linear layer."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        stages = [
            (f"layer{number}", nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)))
            for number, inputs, outputs, stride in (
                (1, width, width, 1),
                (2, width, 2 * width, 2),
                (3, 2 * width, 4 * width, 2),
            )
        ]
        super().__init__(
            OrderedDict(
                [
                    ("conv1", nn.Conv2d(1, width, 3, padding=1, bias=False)),
                    ("bn1", nn.BatchNorm2d(width)),
                    ("relu", nn.ReLU()),
                    *stages,
                    ("avgpool", nn.AdaptiveAvgPool2d(1)),
                    ("flatten", nn.Flatten()),
                    ("fc", nn.Linear(4 * width, classes)),
                ]
            )
        )


class TinyNet(nn.Sequential):
    """Two strided convolutions and one linear layer, for 8x8 images: the smallest CNN that learns the digits."""

    def __init__(self, width: int = 8, classes: int = 10) -> None:
        super().__init__(
            OrderedDict(
                [
                    ("conv1", nn.Conv2d(1, width, 3, stride=2, padding=1)),
                    ("relu1", nn.ReLU()),
                    ("conv2", nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)),
                    ("relu2", nn.ReLU()),
                    ("flatten", nn.Flatten()),
                    ("fc", nn.Linear(2 * width * 2 * 2, classes)),
                ]
            )
        )
