"""Writes regular.npz beside it: training steps of regularised losses by PyTorch, on
golden networks of make_golden.py and the one of make_batchnorm.py. The tests of package
train compare epsball with it.

    python make_regular.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NETWORK.METHOD:

    loss          [N] f8     of each image, without AWP's perturbation
    weight.I, bias.I f8      gradient of their mean to layer I, with AWP's perturbation

with AWP and batch norms also what one step of Adam at learning rate LR makes of layer I,

    stepped.weight.I, stepped.bias.I, stepped.running_mean.I, stepped.running_var.I f8

and of input-gradient and jacobian

    double.weight.I, double.bias.I f8   gradient of the mean of the regulariser alone (with
                             its weight), by differentiating twice, not by differences;
                             absent if a probe crosses the kink of a ReLU, which second
                             derivatives do not see
    v             [N, K] f4  the projections of jacobian

METHOD is one of those below. x' are the images after the last step of NETWORK.npz's PGD
trajectory, or batchnorm.npz's adv: constants. Finite differences are over probes of
length H. NETWORK-smooth has tanh in the place of relu. All is computed in float64 from
float32 weights and pixels, by autograd; results are rounded to float32.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

import make_batchnorm
from make_golden import NETS
from make_trades import load

LR, GAMMA, SMOOTHING, H = 1e-3, 0.05, 0.1, 0.01
MART, TRADES, PAIRING, GRADIENT, JACOBIAN = 5, 6, 0.5, 0.1, 0.01  # weights of the regularisers
HERE = pathlib.Path(__file__).parent


def each(z, y, **kwargs):
    return F.cross_entropy(z, y, reduction="none", **kwargs)


def divergence(z, w):
    return (F.softmax(z, 1) * (F.log_softmax(z, 1) - F.log_softmax(w, 1))).sum(1)


def mart(z, w, y):
    """Wang et al. 2020, eq. 11, without the small constants of the authors' code."""
    q, p = F.softmax(w, 1), F.softmax(z, 1)
    others = q.scatter(1, y[:, None], 0).max(1).values
    right = p.gather(1, y[:, None])[:, 0]
    return each(w, y) - torch.log(1 - others) + MART * divergence(z, w) * (1 - right)


LOSSES = {  # of f(x), f(x') and y
    "standard-smoothing": lambda z, w, y: each(z, y, label_smoothing=SMOOTHING),
    "pgd-smoothing": lambda z, w, y: each(w, y, label_smoothing=SMOOTHING),
    "pgd-awp": lambda z, w, y: each(w, y),
    "trades-awp": lambda z, w, y: each(z, y) + TRADES * divergence(z, w),
    "mart": mart,
    "mart-awp": mart,
    "logit-pairing": lambda z, w, y: (each(z, y) + each(w, y)) / 2 + PAIRING * ((z - w) ** 2).sum(1),
}


class Golden:
    """A golden network, with its parameters as leaves."""

    def __init__(self, net, smooth):
        self.net, self.smooth = net, smooth
        self.params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}

    def __call__(self, x, moves=False):
        if self.smooth:
            relu, F.relu = F.relu, torch.tanh
        try:
            return self.net.forward(x, self.params)[0]
        finally:
            if self.smooth:
                F.relu = relu

    def kinks(self, x):
        """What enters each ReLU."""
        return self.net.forward(x, self.params)[1]

    def named(self):
        return [(f"{kind}.{i}", t) for i, p in self.params.items() for kind, t in zip(("weight", "bias"), p)]


class Normed:
    """The network of make_batchnorm.py in training mode."""

    def __init__(self):
        self.net = make_batchnorm.network().double().train()

    def __call__(self, x, moves=False):
        return self.net(x) if moves else make_batchnorm.frozen(self.net, x)

    def named(self):
        return [(f"{kind}.{i}", t) for i, m in make_batchnorm.layers(self.net) for kind, t in make_batchnorm.tensors(m)]


def step(out, name, f, method, x, adv, y):
    leaves = [(k, t) for k, t in f.named() if t.requires_grad]
    optimiser = torch.optim.Adam([t for _, t in leaves], lr=LR)
    points_move = method.startswith("pgd")  # the running statistics

    def loss(moves):
        return LOSSES[method](f(x, moves and not points_move), f(adv, moves and points_move), y)

    awp = method.endswith("-awp")
    before = loss(moves=not awp)
    before.mean().backward()
    out[f"{name}.loss"] = before.detach().numpy()
    if awp:
        old = [t.detach().clone() for _, t in leaves]
        with torch.no_grad():
            for _, t in leaves:
                if t.ndim > 1:
                    t += GAMMA * t.norm() / t.grad.norm() * t.grad
        optimiser.zero_grad()
        loss(moves=True).mean().backward()
        with torch.no_grad():
            for (_, t), w in zip(leaves, old):
                t.copy_(w)
    for k, t in leaves:
        out[f"{name}.{k}"] = t.grad.numpy().copy()
    optimiser.step()
    if awp or isinstance(f, Normed):
        for k, t in f.named():
            out[f"{name}.stepped.{k}"] = t.detach().numpy().copy()


def probe(out, name, f, method, x, y, rng):
    """One step of a method with a finite difference, and the gradient it stands for."""
    leaves = f.named()
    x = x.clone().requires_grad_()
    z = f(x)
    if method == "jacobian":
        v = rng.normal(size=z.shape)
        v = (v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32)
        out[f"{name}.v"], v = v, torch.tensor(v).double()
        weight = JACOBIAN / 2 * z.shape[1]

        def value(z):
            return (v * z).sum(1)
    else:
        weight = GRADIENT

        def value(z):
            return each(z, y)
    g = torch.autograd.grad(value(z).sum(), x, create_graph=True)[0].flatten(1)
    x2 = (x + H * (g / g.norm(dim=1, keepdim=True).clamp(min=1e-300)).reshape(x.shape)).detach()
    if f.smooth or all(((a > 0) == (b > 0)).all() for a, b in zip(f.kinks(x), f.kinks(x2))):
        double = weight * (g ** 2).sum(1).mean()
        for (k, t), d in zip(leaves, torch.autograd.grad(double, [t for _, t in leaves], retain_graph=True, allow_unused=True)):
            out[f"{name}.double.{k}"] = d.numpy() if d is not None else np.zeros(t.shape)
    z = f(x.detach())
    loss = each(z, y) + weight * ((value(f(x2)) - value(z)) / H) ** 2
    out[f"{name}.loss"] = loss.detach().numpy()
    for (k, _), d in zip(leaves, torch.autograd.grad(loss.mean(), [t for _, t in leaves])):
        out[f"{name}.{k}"] = d.numpy()


def main():
    out, rng = {}, np.random.default_rng(3)
    for name, _, shape, layers in NETS:
        if name not in ("dense", "residual"):
            continue
        golden = np.load(HERE / f"{name}.npz")
        x, adv, y = (torch.tensor(golden["x"]).double(), torch.tensor(golden["pgd"][-1]).double(),
                     torch.tensor(golden["y"]).long())
        for method in LOSSES:
            step(out, f"{name}.{method}", Golden(load(name, shape, layers), False), method, x, adv, y)
        for method in ("input-gradient", "jacobian"):
            for suffix in ("", "-smooth"):
                probe(out, f"{name}{suffix}.{method}", Golden(load(name, shape, layers), suffix), method, x, y, rng)
    norms = np.load(HERE / "batchnorm.npz")
    x, adv, y = torch.tensor(norms["x"]).double(), torch.tensor(norms["adv"]).double(), torch.tensor(norms["y"]).long()
    for method in ("pgd-awp", "trades-awp", "mart", "logit-pairing"):
        step(out, f"batchnorm.{method}", Normed(), method, x, adv, y)
    for k, a in out.items():  # half the file: float64 rounded to float32
        out[k] = np.ascontiguousarray(a.astype(np.float32).astype(a.dtype))
    np.savez_compressed(HERE / "regular.npz", **out)


if __name__ == "__main__":
    main()
