"""Prints how far the finite difference of `epsball train --method input-gradient` is from
the squared gradient that it stands for, and its gradient from that by second derivatives.

    python measure_probes.py MODEL

MODEL is a .safetensors file of epsball for MNIST, of conv, fc and relu. For each length h
and type: the relative error of the mean of the squares over the first 512 training images,
and the L2 distance of its gradients to all weights, by that of second derivatives.
docs/training.md has the figures, by Python 3.11.7, torch 2.15.0, numpy 2.4.6.
"""

import gzip
import json
import pathlib
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

N = 512
MNIST = pathlib.Path(__file__).parent.parent / "mnist"


def images():
    x = gzip.open(MNIST / "train-images-idx3-ubyte.gz").read(16 + N * 784)[16:]
    y = gzip.open(MNIST / "train-labels-idx1-ubyte.gz").read(8 + N)[8:]
    x = np.frombuffer(x, np.uint8).reshape(N, 1, 28, 28).astype(np.float32) / np.float32(255)
    return torch.tensor(x), torch.tensor(np.frombuffer(y, np.uint8).astype(np.int64))


def load(path):
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    layers = json.loads(header.pop("__metadata__")["architecture"])["layers"]
    params = {}
    for name, t in header.items():
        a, b = t["data_offsets"]
        params[name] = torch.tensor(np.frombuffer(body[a:b], "<f4").copy()).reshape(t["shape"])
    return layers, params


def forward(layers, params, x):
    for i, layer in enumerate(layers):
        w, b = params.get(f"layers.{i}.weight"), params.get(f"layers.{i}.bias")
        if layer["type"] == "conv":
            x = F.conv2d(x, w, b, stride=layer["stride"], padding=layer["padding"])
        elif layer["type"] == "fc":
            x = F.linear(x.flatten(1), w, b)
        else:
            x = F.relu(x)
    return x


def penalty(layers, params, x, y, dtype, h=None):
    """The mean of the squares and its gradient; by second derivatives without h."""
    params = {k: t.to(dtype).requires_grad_() for k, t in params.items()}
    x = x.to(dtype).requires_grad_()

    def loss(x):
        return F.cross_entropy(forward(layers, params, x), y, reduction="none")

    g = torch.autograd.grad(loss(x).sum(), x, create_graph=h is None)[0].flatten(1)
    if h is None:
        value = (g**2).sum(1).mean()
    else:
        d = (g / g.norm(dim=1, keepdim=True).clamp(min=1e-30)).reshape(x.shape)
        value = (((loss(x.detach() + h * d) - loss(x.detach())) / h) ** 2).mean()
    grads = torch.autograd.grad(value, list(params.values()), allow_unused=True)
    return value.item(), torch.cat([(t if g is None else g).detach().double().flatten() * (g is not None)
                                    for t, g in zip(params.values(), grads)])


def main():
    (layers, params), (x, y) = load(sys.argv[1]), images()
    value, grad = penalty(layers, params, x, y, torch.float64)
    for h in (0.3, 0.1, 0.03, 0.01, 0.001):
        for dtype in (torch.float32, torch.float64):
            v, g = penalty(layers, params, x, y, dtype, h)
            print(f"h {h:<6} {str(dtype)[6:]:8} penalty {v / value - 1:+.3f}  gradient {(g - grad).norm() / grad.norm():.2f}")


if __name__ == "__main__":
    main()
