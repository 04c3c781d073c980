"""Writes apgd.npz beside it: runs of APGD on the golden networks of
make_golden.py. The tests of package attack compare epsball with them.

    python make_apgd.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. Written from Algorithm 1
of Croce & Hein 2020, in float64 by autograd, from float32 weights, images and
start points. For each run NETWORK.NORM.LOSS of CASES, of STEPS steps:

    RUN.eps      f8                      radius of the ball
    RUN.x        [N, C, H, W] f4         images
    RUN.y        [N] i4                  label: what the network says of the image
    RUN.start    [N, C, H, W] f4         x(0), a point in the ball
    RUN.path     [STEPS+1, N, C, H, W] f4    x(0) ... x(STEPS)
    RUN.length   [N] i4                  points up to the first misclassified one
    RUN.halvings [N] i4                  how often the step is halved before that

A checkpoint w_j is looked at when f(x(w_j)) is known, before x(w_j + 1). Of the
images, those are taken whose path rounding cannot change: no gradient component
is small but not zero where its sign is used, no ReLU is near its kink, no two
losses that are compared nearly the same.
"""

import math
from fractions import Fraction

import numpy as np
import torch

from make_golden import LOSSES, NETS
from make_trades import HERE, load

STEPS, RHO, ALPHA = 30, 0.75, 0.75
IMAGES = 12
CASES = [
    # network, norm, loss, epsilon
    ("strided", "linf", "ce", 0.08),
    ("padded", "linf", "dlr", 0.03),
    ("dense", "linf", "margin", 0.1),
    ("dense", "l2", "ce", 0.2),
    ("residual", "l2", "ce", 0.05),
]


def checkpoints(steps):
    p = [Fraction(0), Fraction(22, 100)]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
    return [math.ceil(q * steps) for q in p]


class Run:
    """APGD on one image."""

    def __init__(self, net, x, y, norm, loss, eps):
        self.net, self.centre, self.y, self.norm, self.loss, self.eps = net, x.double(), y, norm, LOSSES[loss], eps
        self.firm = True  # rounding decides nothing
        self.spared = False  # a step was not halved because it had just been

    def project(self, u):
        d = u - self.centre
        if self.norm == "linf":
            d = d.clamp(-self.eps, self.eps)
        elif d.norm() > self.eps:
            d = d * (self.eps / d.norm())
        return (self.centre + d).clamp(0, 1)

    def look(self, x):
        """Loss and ascent direction at x, and whether x is misclassified."""
        x = x.clone().requires_grad_()
        z, pre = self.net.forward(x[None])
        f = self.loss(z, torch.tensor([self.y]), None)[0]
        g, = torch.autograd.grad(f, x)
        top = z[0].detach().sort(descending=True).values
        self.firm &= all((p.abs() > 2e-6 * p.abs().max()).all() for p in pre) and bool((top[:4].diff().abs() > 1e-5).all())
        if self.norm == "linf":
            size = g.abs()
            self.firm &= bool(((size == 0) | (size > 2e-5 * size.max())).all())
            g = g.sign()
        else:
            g = g / g.norm()
        return f.item(), g, z.argmax().item() != self.y

    def larger(self, a, b):
        self.firm &= a == b or abs(a - b) > 1e-6
        return a > b

    def go(self, start):
        w = checkpoints(STEPS)
        x = [start.double()]
        f0, g, wrong = self.look(x[0])
        f = [f0]
        eta, best = 2 * self.eps, (f0, x[0], g)
        record = [f0]  # largest loss so far, after each point
        length, halvings, halved_before, last = STEPS + 1, 0, False, 0
        if wrong:
            return None
        for k in range(STEPS):
            here = x[k]
            if k in w[1:]:
                ups = sum(self.larger(f[i + 1], f[i]) for i in range(last, k))
                condition1 = ups < RHO * (k - last)
                condition2 = not halved_before and record[k] == record[last]
                self.spared |= halved_before and record[k] == record[last] and not condition1
                if halved_before := condition1 or condition2:
                    eta /= 2
                    halvings += length > k
                    f[k], here, g = best  # x(k) := x_max
                last = k
            z = self.project(here + eta * g)
            if k == 0:
                new = z
            else:
                new = self.project(here + ALPHA * (z - here) + (1 - ALPHA) * (here - before))
            before = here
            x.append(new)
            value, g, wrong = self.look(new)
            f.append(value)
            if self.larger(value, best[0]):
                best = (value, new, g)
            record.append(best[0])
            if wrong:
                length = min(length, k + 2)
                if length == k + 2:
                    break
        while len(x) < STEPS + 1:
            x.append(x[-1])
        return torch.stack(x), length, halvings


def main():
    out = {}
    for network, norm, loss, eps in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(1)
        rows = {key: [] for key in ("x", "y", "start", "path", "length", "halvings")}
        while len(rows["y"]) < IMAGES:
            x = torch.tensor(rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255))
            y = net.forward(x.double()[None])[0].argmax().item()
            run = Run(net, x, y, norm, loss, eps)
            start = run.project(x.double() + torch.tensor(rng.uniform(-eps, eps, shape)))
            start = (x.double() + (start - x.double()) * 0.9).float()  # well inside
            result = run.go(start)
            if result is None or not run.firm or result[1] < 8:
                continue
            if (network, norm) == ("dense", "l2") and len(rows["y"]) == IMAGES - 1 and not run.spared:
                continue  # that is rare: one at least
            for key, v in zip(rows, (x.numpy(), y, start.numpy(), result[0].float().numpy(), result[1], result[2])):
                rows[key].append(v)
        rows["path"] = np.stack(rows["path"], axis=1)
        name = f"{network}.{norm}.{loss}"
        out[f"{name}.eps"] = np.float64(eps)
        for key, v in rows.items():
            v = np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        print(name, "lengths", rows["length"], "halvings", rows["halvings"])
    np.savez_compressed(HERE / "apgd.npz", **out)


if __name__ == "__main__":
    main()
