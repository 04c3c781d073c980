"""Writes the golden files beside it: NAME.safetensors, a tiny model, and
NAME.npz, what PyTorch says about it. The tests of packages net and verify
compare epsball with them.

    python make_golden.py [NAME...]

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, on one thread of an
x86-64 CPU. Models, images and the PGD trajectory come out bit for bit the same
with any version; the float64 references may differ in their last digits.

Everything but the PGD trajectory is computed in float64 from the float32
weights and pixels, by plain PyTorch and autograd. K is the number of classes,
I the index of a layer in the architecture:

    x                [N, C, H, W] f4   pixels, k/255 rounded once
    y, target        [N] i4            labels; targets, never the label
    logits           [N, K] f8
    loss.L, grad.L   [N], [N, C, H, W] f8   L in ce, margin, dlr, each also with
                     the suffix .targeted; the gradient is to the pixels
    weight.I, bias.I f8                gradient of the summed cross-entropy
    pgd              [10, N, C, H, W] f4    the images after each step
    ibp.lower.I, ibp.upper.I  [N, outputs] f8   interval bounds of layer I (conv,
                     fc, add) before its ReLU, channels first
    ibp.margin       [N, K] f8         lower bounds of z_y - z_j, through the
                     rows W_y - W_j of the last layer; 0 at j = y

PGD ascends cross-entropy in the Linf ball of radius 0.1: 10 steps of
float32(0.025) from x, in float32, clamped to the largest float32 box inside
the ball and [0, 1]. Each step takes a sign, which rounding could flip: seeds
are tried until no gradient component of the trajectory is small but not zero,
no ReLU is near its kink and no two leading logits are close (see robust()).
Then every correct float32 implementation gets the same bits.
The bounds are for the same ball in exact reals, cut with [0, 1].
"""

import itertools
import json
import pathlib
import struct
import sys
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

STEPS, STEP = 10, 0.025
EPS = Fraction(1, 10)


def conv(out, kernel, stride, padding, **inputs):
    return {"type": "conv", **inputs, "out": out, "kernel": kernel, "stride": stride, "padding": padding}


def add(*inputs):
    return {"type": "add", "inputs": list(inputs)}


def fc(out):
    return {"type": "fc", "out": out}


RELU = {"type": "relu"}

NETS = [
    # name, images, input, layers
    ("strided", 10, (1, 8, 8), [conv(4, [4, 4], [2, 2], [0, 0]), RELU, conv(6, [2, 2], [1, 1], [0, 0]), RELU,
                                fc(12), RELU, fc(10)]),
    ("padded", 9, (3, 7, 6), [{"type": "normalize", "mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]},
                              conv(5, [3, 3], [1, 1], [1, 1]), RELU, conv(7, [3, 2], [2, 2], [1, 1]), RELU, fc(5)]),
    ("dense", 5, (2, 3, 3), [fc(9), RELU, fc(6), RELU, fc(4)]),
    # a block whose shortcut is its input, one with a projection of stride 2
    ("residual", 9, (2, 6, 6), [{"type": "normalize", "mean": [0.45, 0.4], "std": [0.25, 0.3]},
                                conv(4, [3, 3], [1, 1], [1, 1]), RELU,
                                conv(4, [3, 3], [1, 1], [1, 1]), RELU, conv(4, [3, 3], [1, 1], [1, 1]), add(5, 2), RELU,
                                conv(5, [3, 3], [2, 2], [1, 1]), RELU, conv(5, [3, 3], [1, 1], [1, 1]),
                                conv(5, [1, 1], [2, 2], [0, 0], inputs=[7]), add(10, 11), RELU,
                                fc(5)]),
]


def inputs(layers, i):
    """The layers that layer i reads; -1 is the network's input."""
    return layers[i].get("inputs", [i - 1])


def version(layers):
    return "2" if any("inputs" in layer for layer in layers) else "1"


class Net:
    """A network and its float32 parameters; forward runs in the dtype of x."""

    def __init__(self, shape, layers, rng):
        self.layers, self.params = layers, {}
        shapes = [shape]
        for i, layer in enumerate(layers):
            shape = shapes[inputs(layers, i)[0] + 1]
            shapes.append(shape)
            if layer["type"] == "conv":
                size = (layer["out"], shape[0], *layer["kernel"])
                shape = (layer["out"], *((s + 2 * p - k) // t + 1 for s, p, k, t in
                                         zip(shape[1:], layer["padding"], layer["kernel"], layer["stride"])))
            elif layer["type"] == "fc":
                size = (layer["out"], int(np.prod(shape)))
                shape = (layer["out"],)
            else:
                continue
            shapes[-1] = shape
            unit = 1 / np.sqrt(np.prod(size[1:]))
            self.params[i] = (torch.tensor(rng.uniform(-unit, unit, size).astype(np.float32) * np.float32(2.5)),
                              torch.tensor(rng.uniform(-unit, unit, size[0]).astype(np.float32)))

    def cast(self, i, dtype, params):
        w, b = (params or self.params)[i]
        return w.to(dtype), b.to(dtype)

    def normalize(self, layer, x):
        # the file's decimals mean the nearest float32
        mean, std = (torch.tensor(np.float32(layer[k]), dtype=x.dtype).view(1, -1, 1, 1) for k in ("mean", "std"))
        return (x - mean) / std

    def affine(self, layer, x, w, b):
        if layer["type"] == "conv":
            return F.conv2d(x, w, b, stride=layer["stride"], padding=layer["padding"])
        return F.linear(x.flatten(1), w, b)

    def forward(self, x, params=None):
        """Returns the logits and what enters each ReLU."""
        pre, outs = [], [x]
        for i, layer in enumerate(self.layers):
            x = outs[inputs(self.layers, i)[0] + 1]
            if layer["type"] == "normalize":
                x = self.normalize(layer, x)
            elif layer["type"] == "relu":
                pre.append(x)
                x = F.relu(x)
            elif layer["type"] == "add":
                x = x + outs[layer["inputs"][1] + 1]
            else:
                x = self.affine(layer, x, *self.cast(i, x.dtype, params))
            outs.append(x)
        return x, pre

    def bounds(self, lo, hi, y):
        """Interval bounds of each layer with weights and each sum, and merged margins."""
        result, outs = {}, [(lo, hi)]
        for i, layer in enumerate(self.layers):
            lo, hi = outs[inputs(self.layers, i)[0] + 1]
            if layer["type"] == "normalize":
                lo, hi = self.normalize(layer, lo), self.normalize(layer, hi)
            elif layer["type"] == "relu":
                lo, hi = lo.clamp(min=0), hi.clamp(min=0)
            elif layer["type"] == "add":
                lo2, hi2 = outs[layer["inputs"][1] + 1]
                lo, hi = lo + lo2, hi + hi2
                result[f"lower.{i}"], result[f"upper.{i}"] = lo.flatten(1), hi.flatten(1)
            else:
                w, b = self.cast(i, torch.float64, None)
                if i == len(self.layers) - 1:
                    d, c = w[y][:, None] - w[None], b[y][:, None] - b[None]  # [N, K, features], [N, K]
                    result["margin"] = (torch.einsum("nkf,nf->nk", d.clamp(min=0), lo.flatten(1))
                                        + torch.einsum("nkf,nf->nk", d.clamp(max=0), hi.flatten(1)) + c)
                zero = torch.zeros_like(b)
                pos, neg = w.clamp(min=0), w.clamp(max=0)
                lo, hi = (self.affine(layer, lo, pos, b) + self.affine(layer, hi, neg, zero),
                          self.affine(layer, hi, pos, b) + self.affine(layer, lo, neg, zero))
                result[f"lower.{i}"], result[f"upper.{i}"] = lo.flatten(1), hi.flatten(1)
            outs.append((lo, hi))
        return result


def cross_entropy(z, y, target):
    if target is not None:
        return -F.cross_entropy(z, target, reduction="none")
    return F.cross_entropy(z, y, reduction="none")


def pick(z, i):
    return z.gather(1, i[:, None])[:, 0]


def best_but(z, i):
    return z.scatter(1, i[:, None], -torch.inf).max(1).values


def margin(z, y, target):
    if target is not None:
        return pick(z, target) - best_but(z, target)
    return best_but(z, y) - pick(z, y)


def dlr(z, y, target):
    top = z.sort(1, descending=True).values
    if target is not None:
        return -(pick(z, y) - pick(z, target)) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2)
    return -(pick(z, y) - best_but(z, y)) / (top[:, 0] - top[:, 2])


LOSSES = {"ce": cross_entropy, "margin": margin, "dlr": dlr}


def pixel_gradient(net, x, y, loss=cross_entropy, target=None):
    x = x.clone().requires_grad_()
    value = loss(net.forward(x)[0], y, target)
    value.sum().backward()
    return value.detach(), x.grad


def round_inward(v, towards):
    """The float32 next to the fraction v on the side of towards, or v itself."""
    f = np.float32(float(v))
    if (Fraction(float(f)) - v) * towards < 0:
        f = np.nextafter(f, np.float32(towards * np.inf))
    return f


def inner_box(x):
    """The largest float32 box in [0, 1] and the exact ball around each pixel."""
    pixels = [Fraction(float(v)) for v in x.flatten()]
    lo = [round_inward(max(Fraction(0), v - EPS), 1) for v in pixels]
    hi = [round_inward(min(Fraction(1), v + EPS), -1) for v in pixels]
    return (torch.tensor(np.array(b, np.float32)).view_as(x) for b in (lo, hi))


def robust(net, x, y):
    """Tells whether rounding can decide nothing for the gradient at x."""
    z, pre = net.forward(x.double())
    _, g64 = pixel_gradient(net, x.double(), y)
    _, g32 = pixel_gradient(net, x, y)
    size = g64.abs().flatten(1)
    small = size < 2e-5 * size.max(1, keepdim=True).values
    top = z.sort(1, descending=True).values
    return (bool(((size == 0) | ~small).all()) and torch.equal(g64.sign(), g32.double().sign())
            and all((p.abs() > 2e-6 * p.abs().max()).all() for p in pre)
            and bool((top[:, :4].diff(dim=1).abs() > 1e-3).all()))


def trajectory(net, x, y):
    """The PGD iterates, or None if rounding could change one."""
    lo, hi = inner_box(x)
    steps, at = [], x
    for _ in range(STEPS):
        if not robust(net, at, y):
            return None
        at = torch.maximum(lo, torch.minimum(hi, at + np.float32(STEP) * pixel_gradient(net, at, y)[1].sign()))
        steps.append(at)
    return torch.stack(steps)


def weight_gradients(net, x, y):
    params = {i: [p.double().requires_grad_() for p in pair] for i, pair in net.params.items()}
    F.cross_entropy(net.forward(x, params)[0], y, reduction="sum").backward()
    return {f"{kind}.{i}": p.grad for i, pair in params.items() for kind, p in zip(("weight", "bias"), pair)}


def save_model(path, name, shape, net):
    architecture = {"name": name, "input": shape, "layers": net.layers}
    header = {"__metadata__": {"format": "epsball", "version": version(net.layers), "architecture": json.dumps(architecture)}}
    data = b""
    for i, pair in net.params.items():
        for kind, p in zip(("weight", "bias"), pair):
            raw = p.numpy().astype("<f4").tobytes()
            header[f"layers.{i}.{kind}"] = {"dtype": "F32", "shape": list(p.shape),
                                            "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make(folder, name, count, shape, layers):
    for seed in itertools.count():
        rng = np.random.RandomState(seed)  # its stream is frozen by numpy's policy
        net = Net(shape, layers, rng)
        # about a third of the pixels are 0 or 1, so that the box matters
        x = torch.tensor(rng.randint(-60, 316, (count, *shape)).clip(0, 255).astype(np.float32) / np.float32(255))
        z = net.forward(x.double())[0]
        y = torch.tensor(rng.randint(0, layers[-1]["out"], count))
        y[::2] = z.argmax(1)[::2]  # every other image is classified correctly
        target = (y + torch.tensor(rng.randint(1, layers[-1]["out"], count))) % layers[-1]["out"]
        pgd = trajectory(net, x, y)
        if pgd is not None:
            break
    x64 = x.double()
    arrays = {"x": x, "y": y.int(), "target": target.int(), "logits": z}
    for key, loss in LOSSES.items():
        arrays[f"loss.{key}"], arrays[f"grad.{key}"] = pixel_gradient(net, x64, y, loss)
        key += ".targeted"
        arrays[f"loss.{key}"], arrays[f"grad.{key}"] = pixel_gradient(net, x64, y, loss, target)
    arrays |= weight_gradients(net, x64, y)
    arrays["pgd"] = pgd
    bounds = net.bounds((x64 - float(EPS)).clamp(min=0), (x64 + float(EPS)).clamp(max=1), y)
    arrays |= {f"ibp.{key}": v for key, v in bounds.items()}
    save_model(folder / f"{name}.safetensors", name, shape, net)
    np.savez(folder / f"{name}.npz", **{key: v.numpy() for key, v in arrays.items()})
    print(f"{name}: seed {seed}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for spec in NETS:
        if spec[0] in sys.argv[1:] or len(sys.argv) == 1:
            make(pathlib.Path(__file__).parent, *spec)
