"""The networks and batches that all contestants share."""

import dataclasses
import gzip
import json
import pathlib

import numpy as np
import torch
from safetensors import safe_open

CLASSES = 10


@dataclasses.dataclass
class Layer:
    kind: str  # conv or fc
    w: np.ndarray
    b: np.ndarray
    stride: tuple = (1, 1)
    pad: tuple = (0, 0)
    relu: bool = False


@dataclasses.dataclass
class Net:
    name: str
    path: pathlib.Path
    input: tuple  # channels, height, width
    layers: list


def load(path):
    """Reads a model file of epsball (docs/model-format.md)."""
    layers = []
    with safe_open(path, "numpy") as f:
        arch = json.loads(f.metadata()["architecture"])
        for i, l in enumerate(arch["layers"]):
            if l["type"] == "relu":
                layers[-1].relu = True
                continue
            if l["type"] not in ("conv", "fc"):
                raise ValueError(f"{path}: a {l['type']} layer, want conv, fc and relu alone")
            layer = Layer(l["type"], f.get_tensor(f"layers.{i}.weight"), f.get_tensor(f"layers.{i}.bias"))
            if layer.kind == "conv":
                layer.stride, layer.pad = tuple(l.get("stride", (1, 1))), tuple(l.get("padding", (0, 0)))
            layers.append(layer)
    return Net(arch["name"], pathlib.Path(path), tuple(arch["input"]), layers)


def torch_module(net):
    """The net as a torch.nn.Sequential, its weights frozen."""
    modules, flat = [], False
    for l in net.layers:
        if l.kind == "conv":
            m = torch.nn.Conv2d(l.w.shape[1], l.w.shape[0], l.w.shape[2:], l.stride, l.pad)
        else:
            if not flat:
                modules.append(torch.nn.Flatten())
                flat = True
            m = torch.nn.Linear(l.w.shape[1], l.w.shape[0])
        with torch.no_grad():
            m.weight.copy_(torch.from_numpy(l.w))
            m.bias.copy_(torch.from_numpy(l.b))
        modules.append(m)
        if l.relu:
            modules.append(torch.nn.ReLU())
    return torch.nn.Sequential(*modules).eval().requires_grad_(False)


def random_batch(net, n):
    """Random pixels and labels, always the same."""
    rng = np.random.default_rng(1)
    x = rng.random((n, *net.input), dtype=np.float32)
    return x, rng.integers(0, CLASSES, n).astype(np.int64)


def predictions(net, x):
    with torch.inference_mode():
        return torch_module(net)(torch.from_numpy(x)).argmax(1).numpy()


def mnist(root):
    """The MNIST test set of the repository: images in [0, 1], labels."""
    def read(name, skip):
        with gzip.open(root / "dataset" / "mnist" / name) as f:
            return np.frombuffer(f.read(), np.uint8, offset=skip)
    x = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    y = read("t10k-labels-idx1-ubyte.gz", 8)
    return x.astype(np.float32) / np.float32(255), y.astype(np.int64)
