"""Writes shi.npz beside it: one training step on interval bounds with the regularisers
of Shi et al. 2021 ("Fast Certified Robust Training with Short Warmup", section 4.2) by
PyTorch, on the golden networks of make_golden.py. The tests of package train compare
epsball with it.

    python make_shi.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NAME:

    NAME.loss       [N] f8   KAPPA CE(f(x), y) + (1 - KAPPA) CE(worst case) of each image,
                    and LAMBDA (1 - EPS/TARGET) (L_tightness + L_relu) of the batch
    NAME.terms      [2] f8   L_tightness, L_relu
    NAME.weight.I, NAME.bias.I f8   gradient of the mean to layer I
    NAME.stepped.weight.I, NAME.stepped.bias.I f8   layer I after one step of Adam
                    at learning rate LR

The worst case is that of the margins by interval bounds over the ball of radius EPS, cut
with [0, 1]; the last layer is merged with them. All is computed in float64 from float32
weights and pixels, by autograd.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS, inputs
from make_trades import load

EPS, TARGET, KAPPA, LAMBDA, TAU, LR = 0.05, 0.1, 0.5, 0.5, 0.5, 1e-3
HERE = pathlib.Path(__file__).parent


def intervals(net, x, eps, params):
    """Bounds of what each layer but the last one gives; those of the input come first."""
    outs = [((x - eps).clamp(min=0), (x + eps).clamp(max=1))]
    for i, layer in enumerate(net.layers[:-1]):
        lo, hi = outs[inputs(net.layers, i)[0] + 1]
        if layer["type"] == "normalize":
            lo, hi = net.normalize(layer, lo), net.normalize(layer, hi)
        elif layer["type"] == "relu":
            lo, hi = lo.clamp(min=0), hi.clamp(min=0)
        elif layer["type"] == "add":
            lo2, hi2 = outs[layer["inputs"][1] + 1]
            lo, hi = lo + lo2, hi + hi2
        else:
            w, b = params[i]
            c, r = net.affine(layer, (lo + hi) / 2, w, b), net.affine(layer, (hi - lo) / 2, w.abs(), torch.zeros_like(b))
            lo, hi = c - r, c + r
        outs.append((lo, hi))
    return outs


def rows(net, y, params):
    """W_y - W_j and b_y - b_j of the last layer, for each image and class j."""
    w, b = params[len(net.layers) - 1]
    return w[y][:, None] - w[None], b[y][:, None] - b[None]


def margins(net, box, y, params):
    """Lower bounds of z_y - z_j."""
    d, c = rows(net, y, params)
    lo, hi = (t.flatten(1) for t in box)
    return torch.einsum("nkf,nf->nk", d, (lo + hi) / 2) - torch.einsum("nkf,nf->nk", d.abs(), (hi - lo) / 2) + c


def lack(q):
    return F.relu(TAU - q) / TAU


def regularisers(net, outs):
    relus = [i for i, layer in enumerate(net.layers) if layer["type"] == "relu"]
    first = 1 if net.layers[0]["type"] == "normalize" else 0
    width = ((outs[first][1] - outs[first][0]) / 2).mean()
    tightness, balance = 0, 0
    for i in relus:
        lo, hi = outs[inputs(net.layers, i)[0] + 1]
        c = (lo + hi) / 2
        tightness = tightness + lack(width / ((hi - lo) / 2).mean())
        active, inactive = (lo > 0).double(), (hi < 0).double()
        means = (c * active).sum(), -(c * inactive).sum()
        spread = (c - c.mean()) ** 2
        for a, b in (means, ((spread * active).sum(), (spread * inactive).sum())):
            if max(a, b) > 0:
                balance = balance + lack(torch.minimum(a, b) / torch.maximum(a, b))
    return tightness / len(relus), balance / len(relus)


def step(out, name, params, loss):
    """Adds the loss of each image, its gradients, and the weights after a step."""
    optimiser = torch.optim.Adam([t for p in params.values() for t in p], lr=LR)
    loss.mean().backward()
    out[f"{name}.loss"] = loss.detach().numpy()
    for i, p in params.items():
        for kind, t in zip(("weight", "bias"), p):
            out[f"{name}.{kind}.{i}"] = t.grad.numpy().copy()
    optimiser.step()
    for i, p in params.items():
        for kind, t in zip(("weight", "bias"), p):
            out[f"{name}.stepped.{kind}.{i}"] = t.detach().numpy()


def main():
    out = {}
    for name, _, shape, layers in NETS:
        net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
        x, y = torch.tensor(golden["x"]).double(), torch.tensor(golden["y"]).long()
        params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}
        check = margins(net, intervals(net, x, 0.1, params)[-1], y, params)
        assert np.abs(check.detach().numpy() - golden["ibp.margin"]).max() < 1e-9
        outs = intervals(net, x, EPS, params)
        terms = regularisers(net, outs)
        out[f"{name}.terms"] = torch.stack(terms).detach().numpy()
        worst = -margins(net, outs[-1], y, params)
        loss = KAPPA * F.cross_entropy(net.forward(x, params)[0], y, reduction="none") + (1 - KAPPA) * F.cross_entropy(
            worst, y, reduction="none") + LAMBDA * (1 - EPS / TARGET) * sum(terms)
        step(out, name, params, loss)
    np.savez_compressed(HERE / "shi.npz", **out)


if __name__ == "__main__":
    main()
