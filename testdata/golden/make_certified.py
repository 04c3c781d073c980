"""Writes certified.npz beside it: one training step of SABR and of MTL-IBP by PyTorch, on
the golden networks of make_golden.py. The tests of package train compare epsball with it.

    python make_certified.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each METHOD and NAME:

    METHOD.NAME.loss   [N] f8   the loss of each image, see below
    METHOD.NAME.weight.I, METHOD.NAME.bias.I f8   gradient of their mean to layer I
    METHOD.NAME.stepped.weight.I, METHOD.NAME.stepped.bias.I f8   layer I after one step of
                       Adam at learning rate LR

x' are the images after the first step of NAME.npz's PGD trajectory, constants, and bounds
are intervals with merged margins. sabr is KAPPA CE(f(x), y) + (1 - KAPPA) CE(bounds) over
the boxes of radius LAMBDA EPS around x', cut with the balls of radius EPS around x, which
some of them leave, and with [0, 1]. mtl-ibp is (1 - ALPHA) CE(f(x'), y) + ALPHA CE(bounds)
over the balls. All is computed in float64 from float32 weights and pixels, by autograd.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS
from make_trades import load

EPS, LAMBDA, KAPPA, ALPHA, LR = 0.03, 0.3, 0.25, 0.3, 1e-3
HERE = pathlib.Path(__file__).parent


def bounded(net, lo, hi, y):
    """The cross-entropy of the worst case over a box."""
    return F.cross_entropy(-net.bounds(lo, hi, y)["margin"], y, reduction="none")


def sabr(net, x, adv, y):
    lo, hi = (x - EPS).clamp(min=0), (x + EPS).clamp(max=1)
    tau = LAMBDA * EPS
    assert (adv - tau < x - EPS).any() and (adv + tau > x + EPS).any()
    small = bounded(net, torch.maximum(lo, adv - tau), torch.minimum(hi, adv + tau), y)
    return KAPPA * F.cross_entropy(net.forward(x)[0], y, reduction="none") + (1 - KAPPA) * small


def mtl_ibp(net, x, adv, y):
    ball = bounded(net, (x - EPS).clamp(min=0), (x + EPS).clamp(max=1), y)
    return (1 - ALPHA) * F.cross_entropy(net.forward(adv)[0], y, reduction="none") + ALPHA * ball


def main():
    out = {}
    for method, objective in (("sabr", sabr), ("mtl-ibp", mtl_ibp)):
        for name, _, shape, layers in NETS:
            net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
            x, adv, y = (torch.tensor(golden["x"]).double(), torch.tensor(golden["pgd"][0]).double(),
                         torch.tensor(golden["y"]).long())
            net.params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}
            optimiser = torch.optim.Adam([t for p in net.params.values() for t in p], lr=LR)
            loss = objective(net, x, adv, y)
            loss.mean().backward()
            key = f"{method}.{name}"
            out[f"{key}.loss"] = loss.detach().numpy()
            for i, p in net.params.items():
                for kind, t in zip(("weight", "bias"), p):
                    out[f"{key}.{kind}.{i}"] = t.grad.numpy().copy()
            optimiser.step()
            for i, p in net.params.items():
                for kind, t in zip(("weight", "bias"), p):
                    out[f"{key}.stepped.{kind}.{i}"] = t.detach().numpy()
    np.savez_compressed(HERE / "certified.npz", **out)


if __name__ == "__main__":
    main()
