"""Writes fast.npz beside it: training steps of fgsm, n-fgsm and free, and of pgd and trades
in the L2 norm, by PyTorch, on golden networks of make_golden.py. The tests of package train
compare epsball with it.

    python make_fast.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NAME and METHOD:

    NAME.METHOD.start   [N, ...] f4  the first points, or for free the first perturbations
    NAME.METHOD.points  [N, ...] f8  the points trained on
    NAME.METHOD.loss    [N] f8       the loss of each image there
    NAME.METHOD.weight.I, NAME.METHOD.bias.I f8  gradient of their mean to layer I

Of free it is the second step: the weights have had a step of Adam at learning rate LR by
then, and the perturbations one of length EPS along the sign of their gradient at the first
weights. All is computed in float64 from float32 weights, pixels and starts, by autograd.
"""

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS
from make_trades import BETA, HERE, LR, load

EPS, EPS_L2, STEPS, STEP_L2 = 0.1, 0.5, 3, 0.4  # a step in L2 is STEP_L2 * EPS_L2
NAMES = ("padded", "residual")


def cross_entropy(net, p, y):
    return lambda x: F.cross_entropy(net.forward(x, p)[0], y, reduction="none")


def gradient(loss, x, signs=False):
    """To the points, image by image, whose signs must not hang on rounding."""
    x = x.clone().requires_grad_()
    g = torch.autograd.grad(loss(x).sum(), x)[0]
    size = g.abs().flatten(1)
    most = size.max(1, keepdim=True).values
    assert not signs or ((size == 0) | (size > 3e-6 * most)).all(), "another seed"
    return g


def unit(v):
    return v / v.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def into_ball(x, centre):
    d = x - centre
    n = d.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    return (centre + d * (EPS_L2 / n).clamp(max=1)).clamp(0, 1)


def divergence(z, w):
    return F.kl_div(F.log_softmax(w, 1), F.softmax(z, 1), reduction="none").sum(1)


def main():
    out = {}
    for name in NAMES:
        shape, layers = next(s[2:] for s in NETS if s[0] == name)
        net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
        x, y = torch.tensor(golden["x"]).double(), torch.tensor(golden["y"]).long()
        rng = np.random.default_rng(3)
        cube = lambda r: torch.tensor(rng.uniform(-r, r, x.shape).astype("f4")).double()

        def fresh():
            return {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}

        def put(method, start, points, params, loss):
            for p in params.values():
                for t in p:
                    t.grad = None
            each = loss(points)
            each.mean().backward()
            key = f"{name}.{method}."
            out[key + "start"] = start.numpy().astype("f4")
            out[key + "points"], out[key + "loss"] = points.numpy(), each.detach().numpy()
            for i, p in params.items():
                for kind, t in zip(("weight", "bias"), p):
                    out[f"{key}{kind}.{i}"] = t.grad.numpy().copy()

        params = fresh()
        ce = cross_entropy(net, params, y)

        start = (x + cube(EPS)).clamp(0, 1).float().double()
        step = start + 1.25 * EPS * gradient(ce, start, True).sign()
        put("fgsm", start, torch.minimum(torch.maximum(step, x - EPS), x + EPS).clamp(0, 1), params, ce)

        start = (x + cube(2 * EPS)).clamp(0, 1).float().double()
        put("n-fgsm", start, (start + EPS * gradient(ce, start, True).sign()).clamp(0, 1), params, ce)

        first = into_ball(x + 0.9 * EPS_L2 * unit(cube(1)), x).float().double()
        points = first
        for _ in range(STEPS):
            points = into_ball(points + STEP_L2 * EPS_L2 * unit(gradient(ce, points)), x)
        put("pgd", first, points, params, ce)

        first = (x + cube(0.05)).clamp(0, 1).float().double()
        points, clean = first, net.forward(x, params)[0]
        for _ in range(STEPS):
            g = gradient(lambda v: divergence(clean.detach(), net.forward(v, params)[0]), points)
            points = into_ball(points + STEP_L2 * EPS_L2 * unit(g), x)

        def trades(v):
            z = net.forward(x, params)[0]
            return F.cross_entropy(z, y, reduction="none") + BETA * divergence(z, net.forward(v, params)[0])

        put("trades", first, points, params, trades)

        params = fresh()
        ce = cross_entropy(net, params, y)
        optimiser = torch.optim.Adam([t for p in params.values() for t in p], lr=LR)
        start = delta = cube(EPS)
        points = (x + delta).clamp(0, 1)
        g = gradient(ce, points, True)
        ce(points).mean().backward()
        for p in params.values():  # Adam's first step is a sign, too
            for t in p:
                assert ((t.grad == 0) | (t.grad.abs() > 1e-6 * t.grad.abs().max())).all(), "another seed"
        optimiser.step()
        delta = (delta + EPS * g.sign()).clamp(-EPS, EPS)
        put("free", start, (x + delta).clamp(0, 1), params, ce)
    np.savez_compressed(HERE / "fast.npz", **out)


if __name__ == "__main__":
    main()
