"""Writes crownibp.npz beside it: one training step of CROWN-IBP (Zhang et al. 2020,
"Towards Stable and Efficient Training of Verifiably Robust Neural Networks") by PyTorch,
on the golden networks of make_golden.py. The tests of package train compare epsball with
it.

    python make_crownibp.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NAME:

    NAME.margin     [N, K] f8   lower bounds of z_y - z_j by CROWN-IBP, 0 at j = y
    NAME.loss       [N] f8   KAPPA CE(f(x), y) + (1 - KAPPA) CE(worst case) of each image
    NAME.weight.I, NAME.bias.I f8   gradient of the mean to layer I
    NAME.stepped.weight.I, NAME.stepped.bias.I f8   layer I after one step of Adam
                    at learning rate LR

The worst case is minus (1 - BETA) times the margins' bounds by intervals, minus BETA times
those by CROWN-IBP: rows W_y - W_j carried back through the network, through a ReLU on
[l, u] by its chord where a coefficient is negative and by a line of slope 1 (u > -l) or 0
where it is not. Bounds are over the ball of radius EPS, cut with [0, 1]. All is computed
in float64 from float32 weights and pixels, by autograd. At radius 0.1 the margins are
those of auto_LiRPA in crown.npz.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS, inputs
from make_shi import intervals, margins, rows, step
from make_trades import load

EPS, KAPPA, BETA = 0.05, 0.5, 0.5
HERE = pathlib.Path(__file__).parent


def relu_lines(lo, hi):
    """Lower slope, upper slope and upper intercept."""
    active, unstable = (lo >= 0).double(), ((lo < 0) & (hi > 0)).double()
    width = torch.where(unstable > 0, hi - lo, torch.ones_like(lo))
    chord = unstable * hi / width
    return active + unstable * (hi > -lo).double(), active + chord, -chord * lo


def linear_margins(net, outs, y, params):
    """Lower bounds of z_y - z_j."""
    d, const = rows(net, y, params)
    n, k = d.shape[:2]
    last = len(net.layers) - 1
    shapes = [tuple(lo.shape[1:]) for lo, _ in outs]
    coefficients = {inputs(net.layers, last)[0] + 1: d.reshape(n, k, *shapes[last])}

    def hand(at, v):
        coefficients[at] = coefficients[at] + v if at in coefficients else v

    for i in range(last - 1, -1, -1):
        layer, v, at = net.layers[i], coefficients.pop(i + 1), [a + 1 for a in inputs(net.layers, i)]
        if layer["type"] == "relu":
            low, up, t = (line[:, None] for line in relu_lines(*outs[at[0]]))
            pos, neg = v.clamp(min=0), v.clamp(max=0)
            const = const + (neg * t).flatten(2).sum(2)
            hand(at[0], pos * low + neg * up)
        elif layer["type"] == "add":
            hand(at[0], v)
            hand(at[1], v)
        elif layer["type"] == "normalize":
            mean, std = (torch.tensor(np.float32(layer[a])).double().view(-1, 1, 1) for a in ("mean", "std"))
            const = const - (v * (mean / std)).flatten(2).sum(2)
            hand(at[0], v / std)
        elif layer["type"] == "fc":
            w, b = params[i]
            const = const + v @ b
            hand(at[0], (v @ w).reshape(n, k, *shapes[at[0]]))
        else:
            w, b = params[i]
            const = const + torch.einsum("nkchw,c->nk", v, b)
            back = torch.nn.grad.conv2d_input((n * k, *shapes[at[0]]), w, v.flatten(0, 1), layer["stride"], layer["padding"])
            hand(at[0], back.reshape(n, k, *shapes[at[0]]))
    v, (lo, hi) = coefficients[0], outs[0]
    return const + (v.clamp(min=0) * lo[:, None] + v.clamp(max=0) * hi[:, None]).flatten(2).sum(2)


def main():
    out, lirpa = {}, np.load(HERE / "crown.npz")
    for name, _, shape, layers in NETS:
        net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
        x, y = torch.tensor(golden["x"]).double(), torch.tensor(golden["y"]).long()
        params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}
        check = linear_margins(net, intervals(net, x, 0.1, params), y, params).detach().numpy()
        assert np.abs(check - lirpa[f"{name}.crown-ibp.margin"]).max() < 1e-6, name
        outs = intervals(net, x, EPS, params)
        linear = linear_margins(net, outs, y, params)
        out[f"{name}.margin"] = linear.detach().numpy()
        worst = -(1 - BETA) * margins(net, outs[-1], y, params) - BETA * linear
        loss = KAPPA * F.cross_entropy(net.forward(x, params)[0], y, reduction="none") + (1 - KAPPA) * F.cross_entropy(
            worst, y, reduction="none")
        step(out, name, params, loss)
    np.savez_compressed(HERE / "crownibp.npz", **out)


if __name__ == "__main__":
    main()
