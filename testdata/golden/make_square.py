"""Writes square.npz beside it: runs of the Square Attack on the golden networks
of make_golden.py. The tests of package attack compare epsball with them.

    python make_square.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, pyautoattack 0.2.0.
Written from Andriushchenko et al. 2020 and appendix B of Croce & Hein 2021, in float64,
with epsball's random numbers. The schedule and the bumps are compared with those of
pyautoattack on the way. For each run NETWORK.NORM[.targeted] of CASES, of QUERIES
proposals:

    RUN.eps     f8                   radius of the ball
    RUN.x       [N, C, H, W] f4      images
    RUN.y       [N] i4               label: what the network says of the image
    RUN.target  [N] i4               class each is to be taken for, -1: none
    RUN.sums    [N, QUERIES+1] f8    sum over k of (k+1) x_k / size, of each point
    RUN.loss    [N, QUERIES+1] f8    its loss
    RUN.length  [N] i4               points up to the first that fools
    RUN.last    [N, C, H, W] f4      the last of them

Of the images, those are taken for which no two losses that are compared are nearly
the same, and no window holds next to nothing.
"""

import math

import numpy as np
import torch

from make_golden import LOSSES, NETS
from make_trades import HERE, load

QUERIES, P, SEED, IMAGES = 120, 0.8, 21, 6
CASES = [
    # network, norm, epsilon, targeted
    ("strided", "linf", 0.1, False),
    ("padded", "linf", 0.04, False),
    ("dense", "linf", 0.2, True),
    ("strided", "l2", 0.6, False),
    ("residual", "l2", 0.4, False),
    ("strided", "l1", 3, False),
    ("padded", "l1", 1, False),
]
LEVELS = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]


class Stream:
    """Philox4x32-10, as epsball numbers its streams."""

    def __init__(self, seed, image, run):
        self.key, self.counter, self.words = (seed & 0xFFFFFFFF, seed >> 32), [0, run, image & 0xFFFFFFFF, image >> 32], []

    def word(self):
        if not self.words:
            c, k = list(self.counter), list(self.key)
            for _ in range(10):
                a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
                c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
                k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
            self.words = c
            self.counter[0] += 1
        return self.words.pop(0)

    def below(self, n):
        return self.word() * n >> 32

    def sign(self):
        return -1.0 if self.word() >> 31 else 1.0


def level(i, queries):
    return sum(i * 10000 // queries > l for l in LEVELS)


def size(d, norm):
    return np.sqrt((d ** 2).sum((-2, -1))) if norm == "l2" else np.abs(d).sum((-2, -1))


def bump(side, norm):
    power = 2 if norm == "l2" else 4

    def hill(rows, cols):
        d = np.maximum(np.abs(np.arange(rows)[:, None] - rows // 2), np.abs(np.arange(cols)[None] - cols // 2))
        h = np.cumsum(1.0 / np.arange(max(rows // 2, cols // 2) + 1, 0, -1) ** power)[::-1][d]
        return h / size(h, norm)

    b = -hill(side - side // 2, side)
    if side > 1:
        b = np.concatenate([hill(side // 2, side), b])
    return b / size(b, norm)


def project_l1(x, d, eps):
    """The nearest perturbation to d in the L1 ball and the pixel box."""
    d = np.clip(x + d, 0, 1) - x if np.abs(np.clip(x + d, 0, 1) - x).sum() <= eps else d
    if np.abs(d).sum() <= eps:
        return d

    def shrunk(t):
        return np.clip(x + np.sign(d) * np.maximum(np.abs(d) - t, 0), 0, 1) - x

    low, high = 0.0, np.abs(d).max()
    for _ in range(100):
        mid = (low + high) / 2
        low, high = (mid, high) if np.abs(shrunk(mid)).sum() > eps else (low, mid)
    return shrunk(high)


class Run:
    """Square on one image."""

    def __init__(self, net, x, y, target, norm, eps, number):
        self.net, self.x, self.y, self.target, self.norm, self.eps = net, x.astype(np.float64), y, target, norm, eps
        self.random = Stream(SEED, number, 0)
        self.firm = True

    def look(self, x):
        z, _ = self.net.forward(torch.tensor(x)[None])
        loss = LOSSES["ce" if self.target >= 0 else "margin"]
        f = loss(z, torch.tensor([self.y]), torch.tensor([self.target]) if self.target >= 0 else None).item()
        top = z[0].sort(descending=True).values
        self.firm &= bool(top[0] - top[1] > 1e-5)
        label = z.argmax().item()
        return f, label == self.target if self.target >= 0 else label != self.y

    def start(self):
        c, h, w = self.x.shape
        if self.norm == "linf":
            d = np.array([[self.random.sign() for _ in range(w)] for _ in range(c)])[:, None] * self.eps
            return np.clip(self.x + d, 0, 1)
        d, side = np.zeros_like(self.x), max(1, min(h, w) // 5)
        b = bump(side, self.norm)
        for top in range(h % side // 2, h - side + 1, side):
            for left in range(w % side // 2, w - side + 1, side):
                tile = b.T if self.random.sign() < 0 else b
                for k in range(c):
                    d[k, top:top + side, left:left + side] = self.random.sign() * tile
        if self.norm == "l1":
            return self.x + project_l1(self.x, d, self.eps)
        return np.clip(self.x + d * self.eps / np.sqrt((d ** 2).sum()), 0, 1)

    def window(self, side):
        _, h, w = self.x.shape
        top, left = self.random.below(h - side + 1), self.random.below(w - side + 1)
        return np.s_[:, top:top + side, left:left + side]

    def propose(self, best, i):
        c, h, w = self.x.shape
        side = round(math.sqrt(P / 2 ** level(i, QUERIES) * h * w))
        if self.norm == "linf":
            for _ in range(10):
                new, at = best.copy(), self.window(min(max(side, 1), h, w))
                signs = np.array([self.random.sign() for _ in range(c)])[:, None, None]
                new[at] = np.clip(np.clip(best[at] + 2 * self.eps * signs, self.x[at] - self.eps, self.x[at] + self.eps), 0, 1)
                if np.abs(new - best).max() > 1e-9:
                    break
            return new
        side = min(max(side, 3) | 1, h, w)
        first, other = self.window(side), self.window(side)
        d, sign = best - self.x, self.random.sign()
        b = bump(side, self.norm)
        b = b.T if sign < 0 else b
        mask = np.zeros_like(d)
        mask[first] = mask[other] = 1
        room, both = self.eps ** (2 if self.norm == "l2" else 1), size(d * mask, self.norm)[:, None, None]
        signs = np.array([self.random.sign() for _ in range(c)])[:, None, None]
        here = size(d[first], self.norm)[:, None, None]
        self.firm &= not ((here > 1e-8 * self.eps) & (here < 1e-4 * self.eps)).any()
        new = b * signs + np.where(here > 1e-6 * self.eps, d[first] / (1e-12 + here), 0)
        new[(new < 0) & (self.x[first] <= 0) | (new > 0) & (self.x[first] >= 1)] = 0  # no room in the pixel box
        new /= 1e-12 + size(new, self.norm)[:, None, None]
        if self.norm == "l2":
            new *= np.sqrt(max(0, room - (d ** 2).sum()) / c + both ** 2)
        else:
            new *= (max(0, room - np.abs(d).sum()) / c + both) * c
        d[other] = 0
        d[first] = new
        if self.norm == "l1" and c > 1:
            d = project_l1(self.x, d, self.eps)
        return np.clip(self.x + d, 0, 1)

    def go(self):
        best = self.start()
        highest, fools = self.look(best)
        points, losses = [best], [highest]
        while not fools and len(points) <= QUERIES:
            new = self.propose(best, len(points) - 1)
            f, fools = self.look(new)
            self.firm &= abs(f - highest) > 1e-5 or np.abs(new - best).max() < 1e-12
            points.append(new)
            losses.append(f)
            if f > highest:
                best, highest = new, f
        return points, losses


def check():
    """The schedule and the bumps are those of pyautoattack."""
    from pyautoattack.square import SquareAttack
    for queries in (77, 1000, 5000, 20000):
        a = SquareAttack(None, n_queries=queries, p_init=P)
        assert all(a.p_selection(i) == P / 2 ** level(i, queries) for i in range(queries))
    rand = torch.rand
    torch.rand = lambda *_: torch.zeros(1)  # not transposed
    for norm in ("L2", "L1"):
        a = SquareAttack(None, norm=norm)
        a.device = "cpu"
        for side in range(2, 30):
            assert np.abs(a.eta(side).numpy() - bump(side, norm.lower())).max() < 1e-6
    torch.rand = rand


def main():
    torch.set_num_threads(1)
    check()
    out = {}
    for network, norm, eps, targeted in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(3)
        rows = {key: [] for key in ("x", "y", "target", "sums", "loss", "length", "last")}
        while len(rows["y"]) < IMAGES:
            x = rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255)
            y = net.forward(torch.tensor(x).double()[None])[0].argmax().item()
            classes = net.forward(torch.tensor(x).double()[None])[0].shape[1]
            run = Run(net, x, y, (y + 1) % classes if targeted else -1, norm, eps, len(rows["y"]))
            points, losses = run.go()
            if not run.firm or len(points) < 40:
                continue
            weights = np.arange(1, x.size + 1).reshape(shape) / x.size
            fill = [0.0] * (QUERIES + 1 - len(points))
            for key, v in zip(rows, (x, y, run.target, [float((p * weights).sum()) for p in points] + fill, losses + fill,
                                     len(points), points[-1].astype(np.float32))):
                rows[key].append(v)
        name = f"{network}.{norm}" + (".targeted" if targeted else "")
        out[f"{name}.eps"] = np.float64(eps)
        for key, v in rows.items():
            v = np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        ups = [int((np.diff(np.maximum.accumulate(l[:n])) > 0).sum()) for l, n in zip(rows["loss"], rows["length"])]
        print(name, "lengths", rows["length"], "accepted", ups)
    np.savez_compressed(HERE / "square.npz", **out)


if __name__ == "__main__":
    main()
