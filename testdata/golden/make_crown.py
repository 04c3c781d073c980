"""Writes crown.npz beside it: linear bounds by auto_LiRPA in float64, for the tests
of package verify.

    PYTHONPATH=../../bench/peers python make_crown.py

Last run with Python 3.11.7, torch 2.15.0, auto_LiRPA 0.1 (bench/peers/lirpa.py). The
balls are in Linf: those of make_golden.py for its cases, radius 0.02 around the first
four digits of the MNIST test set for "standard", the built-in model
mnist-small-standard. I counts the conv and fc layers from 0, M is crown or crown-ibp:

    NAME.x             [N, C, H, W] f4, NAME.y [N] i4 (standard alone)
    NAME.M.margin      [N, K] f8   lower bounds of z_y - z_j, 0 at j = y
    NAME.lower.I, NAME.upper.I  [N, outputs] f8   before the ReLU of layer I, by CROWN
"""

import gzip
import json
import pathlib
import struct

import numpy as np
import torch
from safetensors import safe_open

import lirpa

# PyTorch has since given a method that auto_LiRPA overrides one argument more.
_members = lirpa.BoundedModule._named_members
lirpa.BoundedModule._named_members = lambda self, *a, remove_duplicate=True, **k: _members(self, *a, **k)

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def normalize(mean, std):
    """(x - mean) / std as a 1x1 convolution, which auto_LiRPA takes in its stride."""
    mean, std = (torch.tensor(np.float32(v)).double() for v in (mean, std))
    m = torch.nn.Conv2d(len(mean), len(mean), 1).double()
    m.weight.data, m.bias.data = torch.diag(1 / std)[:, :, None, None], -mean / std
    return m


class Graph(torch.nn.Module):
    """The layers of a model file, each reading the outputs it names (-1: the input)."""

    def __init__(self, path):
        super().__init__()
        self.steps, self.relu = torch.nn.ModuleList(), []
        self.inputs = []
        with safe_open(path, "numpy") as f:
            arch = json.loads(f.metadata()["architecture"])
            for i, l in enumerate(arch["layers"]):
                kind = l["type"]
                self.inputs.append(l.get("inputs", [i - 1]))
                if kind in ("relu", "add"):
                    self.steps.append(torch.nn.ReLU())
                    self.relu[-1] |= kind == "relu"
                elif kind == "normalize":
                    self.steps.append(normalize(l["mean"], l["std"]))
                else:
                    w, b = (torch.from_numpy(f.get_tensor(f"layers.{i}.{n}")).double() for n in ("weight", "bias"))
                    if kind == "conv":
                        m = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2:], l.get("stride", (1, 1)), l.get("padding", (0, 0)))
                    else:
                        m = torch.nn.Linear(w.shape[1], w.shape[0])
                    m.weight.data, m.bias.data = w, b
                    self.steps.append(m)
                    self.relu.append(False)
        self.eval().requires_grad_(False)

    def forward(self, x):
        acts = [x]
        for m, inputs in zip(self.steps, self.inputs):
            a = [acts[i + 1] for i in inputs]
            if len(a) == 2:
                acts.append(a[0] + a[1])
                continue
            if isinstance(m, torch.nn.Linear) and a[0].dim() > 2:
                a[0] = a[0].flatten(1)
            acts.append(m(a[0]))
        return acts[-1]


def bounds(out, name, path, x, y, eps, method):
    module = Graph(path)
    x = torch.from_numpy(x).double()
    lo, hi = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    bounded = lirpa.BoundedModule(module, torch.zeros_like(x), bound_opts={"conv_mode": "matrix", "sparse_intermediate_bounds": False}, device="cpu")
    inputs = lirpa.BoundedTensor(x, lirpa.PerturbationLpNorm(norm=np.inf, x_L=lo, x_U=hi))
    n, classes = len(y), module(x).shape[1]
    others = np.array([[j for j in range(classes) if j != k] for k in y])
    rows = torch.zeros(n, classes - 1, classes, dtype=torch.float64)
    for i, k in enumerate(y):
        for r, j in enumerate(others[i]):
            rows[i, r, k], rows[i, r, j] = 1, -1
    low = bounded.compute_bounds(x=(inputs,), C=rows, method=method, bound_upper=False)[0].detach().numpy()
    margin = np.zeros((n, classes))
    np.put_along_axis(margin, others, low, 1)
    out[f"{name}.{method.lower()}.margin"] = margin
    if method == "CROWN":
        before = [m for m in bounded._modules.values() if type(m).__name__ == "BoundRelu"]
        inner = [i for i, relu in enumerate(module.relu) if relu]
        assert len(before) == len(inner)
        for i, m in zip(inner, before):
            node = m.inputs[0]
            out[f"{name}.lower.{i}"] = node.lower.reshape(n, -1).detach().numpy()
            out[f"{name}.upper.{i}"] = node.upper.reshape(n, -1).detach().numpy()


def main():
    out = {}
    for name in ("strided", "padded", "dense", "residual"):
        with np.load(HERE / f"{name}.npz") as f:
            x, y = f["x"], f["y"]
        for method in ("CROWN", "CROWN-IBP"):
            bounds(out, name, HERE / f"{name}.safetensors", x, y, 0.1, method)
    data = ROOT / "dataset" / "mnist"
    pixels = gzip.open(data / "t10k-images-idx3-ubyte.gz").read()[16:]
    x = np.frombuffer(pixels, np.uint8)[: 4 * 784].reshape(4, 1, 28, 28).astype(np.float32) / np.float32(255)
    y = np.frombuffer(gzip.open(data / "t10k-labels-idx1-ubyte.gz").read(), np.uint8)[8:12].astype(np.int32)
    out["standard.x"], out["standard.y"] = x, y
    for method in ("CROWN", "CROWN-IBP"):
        bounds(out, "standard", ROOT / "zoo" / "mnist-small-standard.safetensors", x, y, 0.02, method)
    np.savez_compressed(HERE / "crown.npz", **{k: np.ascontiguousarray(v) for k, v in out.items()})
    for k, v in out.items():
        print(k, v.shape, v.dtype)


main()
