"""The two small networks: one residual, one depthwise-separable.

Both take normalised images [N,1,28,28] and return logits [N,10].
"""

from collections.abc import Callable

import torch
from fashion_data import CLASSES, SIDE
from torch import Tensor, nn


class Unit(nn.Sequential):
    """Convolution, batch normalisation and, where asked for, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        *,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        if active:
            self.relu = nn.ReLU()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = Unit(inputs, outputs, stride=stride)
        self.second = Unit(outputs, outputs, active=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else Unit(inputs, outputs, 1, stride, active=False)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Return the activated sum of the two branches."""
        total = self.second(self.first(features)) + self.shortcut(features)
        result: Tensor = self.relu(total)
        return result


class SeparableBlock(nn.Sequential):
    """A depthwise 3x3 convolution followed by a pointwise one."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = Unit(inputs, inputs, stride=stride, groups=inputs)
        self.pointwise = Unit(inputs, outputs, kernel=1)


class GlobalPool(nn.Module):
    """The mean of each feature map."""

    def forward(self, features: Tensor) -> Tensor:
        """Return [N,C] for feature maps [N,C,H,W]."""
        return features.mean((2, 3))


class Classifier(nn.Module):
    """A stem, a body of blocks, global average pooling and a linear head."""

    def __init__(self, stem: int, body: nn.Sequential, features: int) -> None:
        super().__init__()
        self.stem = Unit(1, stem)
        self.body = body
        self.pool = GlobalPool()
        self.head = nn.Linear(features, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits [N,10] of normalised images [N,1,28,28]."""
        features = self.body(self.stem(image))
        logits: Tensor = self.head(self.pool(features))
        return logits


def build_residual() -> Classifier:
    """Return the residual network, widths 32, 64 and 128."""
    body = nn.Sequential(
        ResidualBlock(32, 32, 1),
        ResidualBlock(32, 64, 2),
        ResidualBlock(64, 64, 1),
        ResidualBlock(64, 128, 2),
        ResidualBlock(128, 128, 1),
    )
    return Classifier(32, body, 128)


def build_separable() -> Classifier:
    """Return the depthwise-separable network, widths 32 to 256."""
    body = nn.Sequential(
        SeparableBlock(32, 64, 2),
        SeparableBlock(64, 128, 1),
        SeparableBlock(128, 128, 1),
        SeparableBlock(128, 256, 2),
        SeparableBlock(256, 256, 1),
    )
    return Classifier(32, body, 256)


BUILDERS: dict[str, Callable[[], Classifier]] = {
    "residual": build_residual,
    "separable": build_separable,
}


def count_operations(model: nn.Module) -> int:
    """Return the operations per image: two for each multiply-add of a layer."""
    operations = 0

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal operations
        weight = module.get_parameter("weight")
        places = output[0, 0].numel() if output.ndim == 4 else 1
        operations += 2 * weight.numel() * places

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(record) for layer in layers]
    model.eval()
    with torch.inference_mode():
        model(torch.zeros(1, 1, SIDE, SIDE))
    for handle in handles:
        handle.remove()
    return operations
