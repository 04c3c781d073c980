"""Writes universal.npz beside it: universal perturbations of the golden networks of
make_golden.py. The tests of package attack compare epsball with them.

    python make_universal.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. Written from Shafahi et al. 2020,
in float64 by autograd, with epsball's random numbers; step sizes fall in a straight line
from epsilon to zero. For each run NETWORK.NORM of CASES:

    RUN.eps     f8                radius of the ball
    RUN.x       [N, C, H, W] f4   images
    RUN.y       [N] i4            label: what the network says of the image
    RUN.delta   [C, H, W] f8      of the perturbations after each epoch, the one that fools
                                  most images, the first of equals
    RUN.fooled  i4                how many
"""

import numpy as np
import torch
import torch.nn.functional as F

from make_golden import NETS
from make_square import Stream
from make_trades import HERE, load

EPOCHS, BATCH, HEIGHT, SEED, IMAGES = 6, 5, 3, 23, 13
CASES = [("strided", "linf", 0.1), ("padded", "l2", 0.3), ("dense", "l2", 0.4)]


def perturb(net, x, y, norm, eps):
    """The best perturbation, how many it fools, and whether rounding decides nothing."""
    delta, best, firm = torch.zeros_like(x[0]), (0, torch.zeros_like(x[0])), True
    order, batches = list(range(len(y))), -(-len(y) // BATCH)
    for epoch in range(EPOCHS):
        s = Stream(SEED, 0, epoch)
        for k in range(len(order)):
            j = k + s.below(len(order) - k)
            order[k], order[j] = order[j], order[k]
        for k in range(batches):
            d = delta.clone().requires_grad_()
            pick = order[k * BATCH:(k + 1) * BATCH]
            v = x[pick] + d
            v = torch.where((v >= 0) & (v <= 1), v, v.detach().clamp(0, 1))  # not half a gradient at 0 and 1
            z, pre = net.forward(v)
            firm &= all(bool((p.abs() > 2e-6 * p.abs().max()).all()) for p in pre)
            loss = F.cross_entropy(z, y[pick], reduction="none")
            firm &= bool(((loss - HEIGHT).abs() > 1e-4).all())
            near = torch.minimum((x[pick] + delta).abs(), (1 - x[pick] - delta).abs())
            firm &= epoch + k == 0 or bool((near > 1e-6).all())
            g, = torch.autograd.grad(torch.where(loss < HEIGHT, loss, 0).sum(), d)
            alpha = eps * (1 - (epoch * batches + k) / (EPOCHS * batches))
            if norm == "linf":
                firm &= bool(((g == 0) | (g.abs() > 1e-4 * g.abs().max())).all())
                delta = (delta + alpha * g.sign()).clamp(-eps, eps)
            elif g.norm() > 0:
                delta = delta + alpha * g / g.norm()
                delta = delta * min(1, eps / delta.norm().item())
        z, _ = net.forward((x + delta).clamp(0, 1))
        top = z.sort(descending=True).values
        firm &= bool((top[:, 0] - top[:, 1] > 1e-4).all())
        fooled = int((z.argmax(1) != y).sum())
        if fooled > best[0]:
            best = (fooled, delta)
        if fooled == len(y):
            break
    return best, firm


def main():
    torch.set_num_threads(1)
    out = {}
    for network, norm, eps in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(5)
        while True:
            x = rng.randint(-60, 316, (IMAGES, *shape)).clip(0, 255).astype(np.float32) / np.float32(255)
            y = net.forward(torch.tensor(x).double())[0].argmax(1)
            (fooled, delta), firm = perturb(net, torch.tensor(x).double(), y, norm, eps)
            if firm and fooled > 1:
                break
        name = f"{network}.{norm}"
        for key, v in (("eps", np.float64(eps)), ("x", x), ("y", y.numpy().astype(np.int32)), ("delta", delta.numpy()),
                       ("fooled", np.int32(fooled))):
            out[f"{name}.{key}"] = v
        print(name, fooled, "of", IMAGES, "fooled", flush=True)
    np.savez_compressed(HERE / "universal.npz", **out)


if __name__ == "__main__":
    main()
