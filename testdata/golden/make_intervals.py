"""Writes intervals.npz beside it: interval bounds by auto_LiRPA in float64 of networks with
pools, batch norm, depthwise and grouped convolutions and other activations than ReLU,
for the tests of package verify.

    PYTHONPATH=../../bench/peers python make_intervals.py

Last run with Python 3.11.7, torch 2.15.0, auto_LiRPA 0.3 (bench/peers/lirpa.py).
Weights, pixels (k/255) and statistics are random; the balls are in Linf around x, cut
with [0, 1]. I is the index of a layer, and the architectures are those of the test:

    NAME.x           [N, C, H, W] f4
    NAME.I.w, .b, .mean, .var   f4   of a conv, fc or batchnorm
    NAME.lower.I, NAME.upper.I  [N, outputs] f8   of the output of layer I
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import lirpa

# PyTorch has since given a method that auto_LiRPA overrides one argument more.
_members = lirpa.BoundedModule._named_members
lirpa.BoundedModule._named_members = lambda self, *a, remove_duplicate=True, **k: _members(self, *a, **k)

EPS = 0.05

NETS = {
    # input, layers: type, then what it takes; "in" names layers, -1 is the input
    "lenet": ((1, 8, 8), [
        ("conv", dict(out=4, k=3, p=1)), ("batchnorm", {}), ("relu", {}), ("maxpool", dict(k=2, s=2)),
        ("conv", dict(out=6, k=3)), ("sigmoid", {}), ("avgpool", dict(k=2, s=1)), ("fc", dict(out=5)),
    ]),
    "mobile": ((2, 6, 6), [
        ("conv", dict(out=2, k=3, p=1, groups=2)), ("batchnorm", {}), ("sigmoid", {}),
        ("conv", dict(out=4, k=1)), ("leakyrelu", dict(slope=0.125)),
        ("conv", dict(out=6, k=3, groups=2)), ("tanh", {}), ("fc", dict(out=4)),
    ]),
    "joined": ((2, 5, 5), [
        ("conv", dict(out=3, k=3, p=1)), ("batchnorm", {}), ("conv", dict(out=3, k=3, p=1, ins=[-1])), ("add", dict(ins=[1, 2])),
        ("relu", {}), ("tanh", dict(ins=[3])), ("concat", dict(ins=[4, 5])), ("maxpool", dict(k=3, s=1, p=1)),
        ("fc", dict(out=4)),
    ]),
}


class Net(torch.nn.Module):
    """The first layers of a network."""

    def __init__(self, layers, params):
        super().__init__()
        self.layers = layers
        for i, p in params.items():
            if i < len(layers):
                for k, v in p.items():
                    self.register_buffer(f"{k}{i}", torch.tensor(v).double())

    def forward(self, x):
        outs = [x]
        for i, (kind, o) in enumerate(self.layers):
            ins = [outs[k + 1] for k in o.get("ins", [i - 1])]
            x = ins[0]
            w, b = getattr(self, f"w{i}", None), getattr(self, f"b{i}", None)
            if kind == "conv":
                x = F.conv2d(x, w, b, padding=o.get("p", 0), groups=o.get("groups", 1))
            elif kind == "fc":
                x = F.linear(x.flatten(1), w, b)
            elif kind == "batchnorm":
                x = F.batch_norm(x, getattr(self, f"mean{i}"), getattr(self, f"var{i}"), w, b, False, 0, 1e-3)
            elif kind == "relu":
                x = F.relu(x)
            elif kind == "leakyrelu":
                x = F.leaky_relu(x, o["slope"])
            elif kind == "sigmoid":
                x = torch.sigmoid(x)
            elif kind == "tanh":
                x = torch.tanh(x)
            elif kind == "maxpool":
                x = F.max_pool2d(x, o["k"], o["s"], o.get("p", 0))
            elif kind == "avgpool":
                x = F.avg_pool2d(x, o["k"], o["s"])
            elif kind == "add":
                x = ins[0] + ins[1]
            elif kind == "concat":
                x = torch.cat(ins, 1)
            outs.append(x)
        return x


def weights(shape, layers, rng):
    params, x = {}, torch.zeros(1, *shape).double()
    outs = [x]
    for i, (kind, o) in enumerate(layers):
        c = outs[o.get("ins", [i - 1])[0] + 1]
        uniform = lambda low, high, *size: rng.uniform(low, high, size).astype(np.float32)
        if kind == "conv":
            params[i] = dict(w=uniform(-1, 1, o["out"], c.shape[1] // o.get("groups", 1), o["k"], o["k"]), b=uniform(-0.5, 0.5, o["out"]))
        elif kind == "fc":
            params[i] = dict(w=uniform(-1, 1, o["out"], c[0].numel()), b=uniform(-0.5, 0.5, o["out"]))
        elif kind == "batchnorm":
            n = c.shape[1]
            params[i] = dict(w=uniform(-1, 1.5, n), b=uniform(-0.5, 0.5, n), mean=uniform(-0.5, 0.5, n), var=uniform(0.2, 1, n))
        outs.append(Net(layers[: i + 1], params)(x))
    return params


def main():
    arrays, rng = {}, np.random.default_rng(7)
    for name, (shape, layers) in NETS.items():
        x = (rng.integers(0, 256, (3, *shape)) / np.float32(255)).astype(np.float32)
        params = weights(shape, layers, rng)
        arrays[f"{name}.x"] = x
        for i, p in params.items():
            for k, v in p.items():
                arrays[f"{name}.{i}.{k}"] = v
        x = torch.tensor(x).double()
        box = lirpa.PerturbationLpNorm(norm=np.inf, x_L=(x - EPS).clamp(0, 1), x_U=(x + EPS).clamp(0, 1))
        for i in range(len(layers)):
            m = lirpa.BoundedModule(Net(layers[: i + 1], params), x)
            low, high = m.compute_bounds(x=(lirpa.BoundedTensor(x, box),), method="IBP")
            arrays[f"{name}.lower.{i}"], arrays[f"{name}.upper.{i}"] = (v.detach().flatten(1).numpy() for v in (low, high))
    np.savez_compressed(pathlib.Path(__file__).parent / "intervals.npz", **arrays)


if __name__ == "__main__":
    main()
