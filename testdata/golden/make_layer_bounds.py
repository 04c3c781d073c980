"""Writes layer_bounds.npz beside it, and the models bounds-NAME.safetensors: linear bounds by
auto_LiRPA in float64 of networks with layers beyond conv, fc, add and relu, for the tests
of package verify.

    PYTHONPATH=../../bench/peers python make_layer_bounds.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, auto_LiRPA 0.3 (bench/peers/lirpa.py).
Layers are those for which auto_LiRPA takes the lines that docs/certificate.md has, or
none: it has others for leakyrelu, sigmoid, tanh and maxpool, and backward it takes average
pools for those whose windows neither overlap nor have padding. The ball is Linf, 0.05. M
is crown or crown-ibp:

    NAME.x        [N, C, H, W] f4, NAME.y [N] i4
    NAME.M.margin [N, K] f8   lower bounds of z_y - z_j, 0 at j = y
"""

import json
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

import lirpa

_members = lirpa.BoundedModule._named_members
lirpa.BoundedModule._named_members = lambda self, *a, remove_duplicate=True, **k: _members(self, *a, **k)

HERE = pathlib.Path(__file__).parent
EPS = 0.05


def conv(out, k, stride, pad, **more):
    return {"type": "conv", "out": out, "kernel": [k, k], "stride": [stride, stride], "padding": [pad, pad], **more}


def pool(k, stride, pad, **more):
    return {"type": "avgpool", "kernel": [k, k], "stride": [stride, stride], "padding": [pad, pad], **more}


BN, RELU = {"type": "batchnorm", "eps": 0.001}, {"type": "relu"}

NETS = {
    "mobile": ((2, 6, 6), [conv(4, 3, 1, 1), BN, RELU, conv(4, 3, 2, 1, groups=4), BN, RELU, conv(6, 1, 1, 0), BN, RELU,
                           pool(3, 1, 0), {"type": "fc", "out": 4}]),
    "branches": ((2, 5, 5), [conv(4, 3, 1, 1), RELU, conv(4, 3, 1, 1, groups=2), {"type": "concat", "inputs": [2, 1]}, RELU,
                             conv(4, 1, 1, 0, inputs=[4]), RELU, {"type": "add", "inputs": [6, 1]}, RELU,
                             pool(2, 2, 0), conv(3, 2, 1, 0), RELU, {"type": "fc", "out": 5}]),
}


class Net(torch.nn.Module):
    def __init__(self, shape, layers, rng):
        super().__init__()
        self.layers, self.tensors, self.steps = layers, {}, torch.nn.ModuleList()
        x = [torch.zeros(1, *shape).double()]
        for i, l in enumerate(layers):
            c, kind = x[self.inputs(i)[0] + 1].shape[1], l["type"]
            m = torch.nn.ReLU()

            def draw(name, size, least, most):
                v = rng.uniform(least, most, size).astype(np.float32)
                self.tensors[f"layers.{i}.{name}"] = v
                return torch.tensor(v).double()

            if kind == "conv":
                g = l.get("groups", 1)
                m = torch.nn.Conv2d(c, l["out"], l["kernel"], l["stride"], l["padding"], groups=g).double()
                u = 2.5 / np.sqrt(c // g * l["kernel"][0] ** 2)
                m.weight.data, m.bias.data = draw("weight", m.weight.shape, -u, u), draw("bias", (l["out"],), -0.1, 0.1)
            elif kind == "fc":
                n = x[-1].flatten(1).shape[1]
                m = torch.nn.Linear(n, l["out"]).double()
                m.weight.data, m.bias.data = draw("weight", (l["out"], n), -1, 1), draw("bias", (l["out"],), -0.1, 0.1)
            elif kind == "batchnorm":
                w, b = draw("weight", (c,), 0.5, 1.5), draw("bias", (c,), -0.3, 0.3)
                mean, var = draw("running_mean", (c,), -0.3, 0.3), draw("running_var", (c,), 0.2, 2)
                # the float32 factor and summand that are the network's weights
                s = w.numpy() / np.sqrt(var.numpy() + float(np.float32(l["eps"])))
                t = (b.numpy() - mean.numpy() * s).astype(np.float32)
                m = torch.nn.Conv2d(c, c, 1, groups=c).double()
                m.weight.data = torch.tensor(s.astype(np.float32)).double().view(c, 1, 1, 1)
                m.bias.data = torch.tensor(t).double()
            elif kind == "avgpool":
                m = torch.nn.AvgPool2d(l["kernel"], l["stride"], l["padding"])
            self.steps.append(m)
            x.append(self.step(i, x))
        self.eval().requires_grad_(False)

    def inputs(self, i):
        return self.layers[i].get("inputs", [i - 1])

    def step(self, i, x):
        kind, a = self.layers[i]["type"], [x[k + 1] for k in self.inputs(i)]
        if kind == "concat":
            return torch.cat(a, 1)
        if kind == "add":
            return a[0] + a[1]
        return self.steps[i](a[0].flatten(1) if kind == "fc" else a[0])

    def forward(self, x):
        acts = [x]
        for i in range(len(self.layers)):
            acts.append(self.step(i, acts))
        return acts[-1]

    def save(self, path, name, shape):
        arch = {"name": name, "input": shape, "layers": self.layers}
        header, data = {"__metadata__": {"format": "epsball", "version": "4", "architecture": json.dumps(arch)}}, b""
        for key, v in self.tensors.items():
            raw = v.astype("<f4").tobytes()
            header[key] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    out = {}
    for name, (shape, layers) in NETS.items():
        rng = np.random.RandomState(3)
        net = Net(shape, layers, rng)
        net.save(HERE / f"bounds-{name}.safetensors", name, shape)
        x32 = rng.randint(0, 256, (6, *shape)).astype(np.float32) / np.float32(255)
        x = torch.from_numpy(x32).double()
        y = net(x).argmax(1).numpy().astype(np.int32)
        out[f"{name}.x"], out[f"{name}.y"] = x32, y
        n, classes = len(y), layers[-1]["out"]
        others = np.array([[j for j in range(classes) if j != k] for k in y])
        rows = torch.zeros(n, classes - 1, classes, dtype=torch.float64)
        for i, k in enumerate(y):
            for r, j in enumerate(others[i]):
                rows[i, r, k], rows[i, r, j] = 1, -1
        for method in ("CROWN", "CROWN-IBP"):
            b = lirpa.BoundedModule(net, torch.zeros_like(x), bound_opts={"conv_mode": "matrix", "sparse_intermediate_bounds": False}, device="cpu")
            ball = lirpa.PerturbationLpNorm(norm=np.inf, x_L=(x - EPS).clamp(0, 1), x_U=(x + EPS).clamp(0, 1))
            low = b.compute_bounds(x=(lirpa.BoundedTensor(x, ball),), C=rows, method=method, bound_upper=False)[0].detach().numpy()
            margin = np.zeros((n, classes))
            np.put_along_axis(margin, others, low, 1)
            out[f"{name}.{method.lower()}.margin"] = margin
    np.savez_compressed(HERE / "layer_bounds.npz", **{k: np.ascontiguousarray(v) for k, v in out.items()})
    for k, v in out.items():
        print(k, v.shape, v.dtype, v.ravel()[:4])


main()
