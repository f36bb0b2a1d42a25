"""The same networks as anybody would write them in PyTorch: what our paths are measured beside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from subjects import Size
from torch import nn
from torch.nn import functional

from assay.core.precision import Precision

TYPES = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        sizes = ((channels, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, k // 2, bias=False) for i, o, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size[1]) for size in sizes)
        self.down = None
        if stride != 1 or channels != 4 * width:
            self.down = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, C, H, W]``."""
        y = torch.relu(self.norms[0](self.convs[0](x)))
        y = torch.relu(self.norms[1](self.convs[1](y)))
        return torch.relu(self.norms[2](self.convs[2](y)) + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    """ResNet-50, or with ``quick`` its first block on a small stem."""

    def __init__(self, *, quick: bool) -> None:
        super().__init__()
        stages = ((1, 16, 1),) if quick else ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
        channels = 32 if quick else 64
        kernel = 3 if quick else 7
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, kernel, 2, kernel // 2, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.pool = nn.Identity() if quick else nn.MaxPool2d(3, 2, 1)
        blocks = []
        for count, width, stride in stages:
            for index in range(count):
                blocks.append(Bottleneck(channels, width, stride if index == 0 else 1))
                channels = 4 * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, 10 if quick else 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, 3, H, W]`` to ``[N, classes]``."""
        return self.head(self.blocks(self.pool(self.stem(x))).mean((2, 3)))


class Layer(nn.Module):
    """A layer of an encoder, with torch's own attention."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.parts = nn.ModuleList(nn.Linear(size.width, size.width) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(size.width) for _ in range(2))
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, tokens, width]``."""
        n, tokens, width = x.shape
        q, k, v = (part(x).view(n, tokens, self.heads, -1).transpose(1, 2) for part in self.parts[:3])
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = self.norms[0](x + self.parts[3](mixed))
        return self.norms[1](x + self.down(functional.gelu(self.up(x))))


class Encoder(nn.Module):
    """An encoder."""

    def __init__(self, size: Size, words: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, size.width)
        self.layers = nn.Sequential(*(Layer(size) for _ in range(size.layers)))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """``[N, tokens]`` to ``[N, width]``."""
        return self.layers(self.table(ids)).mean(1)


def make_plain(model: nn.Module, precision: Precision, device: str, *, compiled: bool) -> Callable[..., torch.Tensor]:
    """A model ready to call, as the documentation of PyTorch advises: one type, channels last, no gradients."""
    model = model.to(device, TYPES.get(precision, torch.float32)).eval().requires_grad_(requires_grad=False)
    if isinstance(model, ResNet):
        model = model.to(memory_format=torch.channels_last)
    if not compiled:
        return model
    return torch.compile(model, mode="reduce-overhead" if device != "cpu" else "default", dynamic=False)
