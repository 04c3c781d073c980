"""Writes trades.npz beside it: one training step of TRADES by PyTorch, on the
golden networks of make_golden.py. The tests of package train compare epsball
with it.

    python make_trades.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NAME:

    NAME.loss       [N] f8   CE(f(x), y) + BETA KL(f(x) || f(x')) of each image
    NAME.weight.I, NAME.bias.I f8   gradient of their mean to layer I
    NAME.stepped.weight.I, NAME.stepped.bias.I f8   layer I after one step of Adam
                    at learning rate LR

x' are the images after the last step of NAME.npz's PGD trajectory, constants.
All is computed in float64 from float32 weights and pixels, by autograd.
"""

import json
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS, Net

BETA, LR = 6, 1e-3
HERE = pathlib.Path(__file__).parent


def load(name, shape, layers):
    """The network with the weights of its file."""
    net = Net(shape, layers, np.random.default_rng(0))
    data = (HERE / f"{name}.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]

    def tensor(key, like):
        a, b = header[key]["data_offsets"]
        return torch.tensor(np.frombuffer(body[a:b], "<f4").copy()).reshape(like.shape)

    net.params = {i: (tensor(f"layers.{i}.weight", w), tensor(f"layers.{i}.bias", b)) for i, (w, b) in net.params.items()}
    return net


def main():
    out = {}
    for name, _, shape, layers in NETS:
        net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
        x, adv, y = (torch.tensor(golden["x"]).double(), torch.tensor(golden["pgd"][-1]).double(),
                     torch.tensor(golden["y"]).long())
        params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}
        optimiser = torch.optim.Adam([t for p in params.values() for t in p], lr=LR)
        z, w = net.forward(x, params)[0], net.forward(adv, params)[0]
        assert np.abs(z.detach().numpy() - golden["logits"]).max() < 1e-9  # the file's weights
        loss = F.cross_entropy(z, y, reduction="none") + BETA * F.kl_div(
            F.log_softmax(w, 1), F.softmax(z, 1), reduction="none").sum(1)
        loss.mean().backward()
        out[f"{name}.loss"] = loss.detach().numpy()
        for i, p in params.items():
            for kind, t in zip(("weight", "bias"), p):
                out[f"{name}.{kind}.{i}"] = t.grad.numpy().copy()
        optimiser.step()
        for i, p in params.items():
            for kind, t in zip(("weight", "bias"), p):
                out[f"{name}.stepped.{kind}.{i}"] = t.detach().numpy()
    np.savez_compressed(HERE / "trades.npz", **out)


if __name__ == "__main__":
    main()
