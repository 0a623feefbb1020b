"""The networks of benchmarks/vision.py as a PyTorch user writes them; run, it trains one whenever it is asked.

    python benchmarks/_torch_networks.py resnet20 eager     (or channels-last, compiled)

It prints a line when it is ready; for each line it reads, it takes a step and prints one. In a process of its own,
because the threads of PyTorch and TensorFlow hinder each other in one.
"""

import subprocess
import sys

import torch
from torch import nn
from torch.nn import functional

MODES = ("eager", "channels-last", "compiled")


class Basic(nn.Module):
    """A residual block of two 3 x 3 convolutions; without `project`, a shortcut of option A."""

    def __init__(self, before, filters, strides, project=True):
        super().__init__()
        self.strides, self.more = strides, filters - before
        self.conv1 = nn.Conv2d(before, filters, 3, strides, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = shortcut(before, filters, strides) if project else self.pad

    def pad(self, x):
        if self.more:
            x = functional.pad(x[:, :, :: self.strides, :: self.strides], (0, 0, 0, 0, 0, self.more))
        return x

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.shortcut(x) + self.norm2(self.conv2(y)))


class Bottleneck(nn.Module):
    def __init__(self, before, filters, strides):
        super().__init__()
        self.conv1 = nn.Conv2d(before, filters, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, strides, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.conv3 = nn.Conv2d(filters, 4 * filters, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * filters)
        self.shortcut = shortcut(before, 4 * filters, strides)

    def forward(self, x):
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(self.shortcut(x) + self.norm3(self.conv3(y)))


def shortcut(before, after, strides):
    if before == after and strides == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, after, 1, strides, bias=False), nn.BatchNorm2d(after))


def resnet20():
    blocks, before = [], 16
    for stage, filters in enumerate((16, 32, 64)):
        for index in range(3):
            blocks.append(Basic(before, filters, 2 if stage and not index else 1, project=False))
            before = filters
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet(depth):
    """ResNet-18 or ResNet-50 v1.5."""
    counts, block, growth = {18: ((2, 2, 2, 2), Basic, 1), 50: ((3, 4, 6, 3), Bottleneck, 4)}[depth]
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks, before = [], 64
    for stage, count in enumerate(counts):
        for index in range(count):
            blocks.append(block(before, 64 * 2**stage, 2 if stage and not index else 1))
            before = 64 * 2**stage * growth
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000))


def twice(before, filters):
    layers = []
    for channels in (before, filters):
        layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """32 filters, 4 levels, batch norm, 2 classes."""

    def __init__(self):
        super().__init__()
        widths = [32 * 2**level for level in range(5)]
        self.down = nn.ModuleList(twice(before, width) for before, width in zip([3, *widths], widths, strict=False))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in widths[3::-1])
        self.up = nn.ModuleList(twice(2 * width, width) for width in widths[3::-1])
        self.head = nn.Conv2d(32, 2, 1)

    def forward(self, x):
        seen = []
        for level, layers in enumerate(self.down):
            x = layers(functional.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for grow, layers, beside in zip(self.grow, self.up, seen[-2::-1], strict=True):
            x = layers(torch.cat([beside, grow(x)], 1))
        return self.head(x)


NETWORKS = {"resnet20": (resnet20, (128, 3, 32, 32), (10, 128)), "unet": (UNet, (8, 3, 128, 128), (2, 8, 128, 128))}


def make_step(name, mode):
    """A callable that trains a network on a batch."""
    make, shape, (classes, *targets) = NETWORKS[name]
    model, images = make(), torch.randn(shape)
    labels = torch.randint(0, classes, targets)
    if mode != "eager":
        model = model.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    if mode == "compiled":
        model = torch.compile(model)
    optimizer, loss = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9), nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()

    return step


class Worker:
    """A process that takes a step whenever it is called; `close` ends it. `script` calls `main`."""

    def __init__(self, name, mode, script=__file__):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self._process = subprocess.Popen([sys.executable, script, name, mode], **pipes)
        self._process.stdout.readline()

    def __call__(self, steps=1):
        self._process.stdin.write(f"{steps}\n")
        if not self._process.stdout.readline():
            raise RuntimeError("The process that runs PyTorch has ended.")

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def main(make_step, name, mode):
    step = make_step(name, mode)
    step()  # compiles
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)):
            step()
        print("done", flush=True)


if __name__ == "__main__":
    main(make_step, *sys.argv[1:])
