"""Writes sparsers.npz beside it: runs of Sparse-RS on the golden networks of
make_golden.py. The tests of package attack compare epsball with them.

    python make_sparsers.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. Written from Croce et al. 2022, in
float64, with epsball's random numbers. The arrays of each run NETWORK[.targeted] are
those of make_square.py, with the radius in values.
"""

import numpy as np
import torch

from make_golden import LOSSES, NETS
from make_square import Stream
from make_trades import HERE, load

QUERIES, ALPHA, SEED, IMAGES = 150, 0.3, 22, 6
CASES = [
    # network, values, targeted
    ("strided", 7, False),
    ("padded", 23, False),
    ("dense", 5, True),
    ("residual", 72, False),  # all pixels
]
SHARES = [(0, 1), (50, 2), (200, 4), (500, 5), (1000, 6), (2000, 8), (4000, 10), (6000, 12), (8000, 15)]


def exchanged(k, i):
    at = i * 10000 // QUERIES
    share = next((s for top, s in SHARES if at <= top), 20)
    return max(1, int(ALPHA / share * k))


class Run:
    """Sparse-RS on one image."""

    def __init__(self, net, x, y, target, values, number):
        self.net, self.x, self.y, self.target = net, x.astype(np.float64), y, target
        self.pixels = x.shape[1] * x.shape[2]
        self.k = min(values // x.shape[0], self.pixels)
        self.random, self.firm = Stream(SEED, number, 0), True

    def look(self, x):
        z, _ = self.net.forward(torch.tensor(x)[None])
        loss = LOSSES["ce" if self.target >= 0 else "margin"]
        f = loss(z, torch.tensor([self.y]), torch.tensor([self.target]) if self.target >= 0 else None).item()
        top = z[0].sort(descending=True).values
        self.firm &= bool(top[0] - top[1] > 1e-5)
        label = z.argmax().item()
        return f, label == self.target if self.target >= 0 else label != self.y

    def colour(self, x, pixel):
        at = np.s_[:, pixel // x.shape[2], pixel % x.shape[2]]
        while True:
            bits = self.random.word()
            x[at] = [bits >> c & 1 for c in range(x.shape[0])]
            if (x[at] != self.x[at]).any():
                return

    def go(self):
        n, k, random = self.pixels, self.k, self.random
        best, order = self.x.copy(), list(range(n))
        for i in range(k):
            j = i + random.below(n - i)
            order[i], order[j] = order[j], order[i]
            self.colour(best, order[i])
        order = self.sorted(order[:k])
        highest, fools = self.look(best)
        points, losses = [best], [highest]
        while not fools and len(points) <= QUERIES:
            new, m = best.copy(), exchanged(k, len(points))
            m = min(m, n - k) if k < n else m
            for i in range(m):
                j = random.below(k - i)
                order[k - 1 - i], order[j] = order[j], order[k - 1 - i]
                old = order[k - 1 - i]
                if k == n:
                    self.colour(new, old)
                    continue
                new[:, old // new.shape[2], old % new.shape[2]] = self.x[:, old // new.shape[2], old % new.shape[2]]
                j = k + i + random.below(n - k - i)
                order[k + i], order[j] = order[j], order[k + i]
                self.colour(new, order[k + i])
            f, fools = self.look(new)
            self.firm &= abs(f - highest) > 1e-5 or (new == best).all()
            points.append(new)
            losses.append(f)
            if f > highest:
                best, highest = new, f
                for i in range(m if k < n else 0):
                    order[k - 1 - i], order[k + i] = order[k + i], order[k - 1 - i]
        return points, losses

    def sorted(self, changed):
        """The changed pixels first, by swaps in order."""
        order, at = list(range(self.pixels)), 0
        for p in range(self.pixels):
            if p in changed:
                order[at], order[p] = order[p], order[at]
                at += 1
        return order


def main():
    torch.set_num_threads(1)
    out = {}
    for network, values, targeted in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(4)
        rows = {key: [] for key in ("x", "y", "target", "sums", "loss", "length", "last")}
        while len(rows["y"]) < IMAGES:
            x = rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255)
            z = net.forward(torch.tensor(x).double()[None])[0][0]
            y = z.argmax().item()
            run = Run(net, x, y, (y + 1) % len(z) if targeted else -1, values, len(rows["y"]))
            points, losses = run.go()
            if not run.firm or len(points) < (20 if network == "residual" else 40):
                continue
            weights = np.arange(1, x.size + 1).reshape(shape) / x.size
            fill = [0.0] * (QUERIES + 1 - len(points))
            for key, v in zip(rows, (x, y, run.target, [float((p * weights).sum()) for p in points] + fill, losses + fill,
                                     len(points), points[-1].astype(np.float32))):
                rows[key].append(v)
        name = network + (".targeted" if targeted else "")
        out[f"{name}.eps"] = np.float64(values)
        for key, v in rows.items():
            v = np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        ups = [int((np.diff(np.maximum.accumulate(l[:n])) > 0).sum()) for l, n in zip(rows["loss"], rows["length"])]
        print(name, "lengths", rows["length"], "accepted", ups, flush=True)
    np.savez_compressed(HERE / "sparsers.npz", **out)


if __name__ == "__main__":
    main()
