"""Writes fab.npz beside it: projections of pyautoattack, and runs of FAB and FAB-T
on the golden networks of make_golden.py. The tests of package attack compare
epsball with them.

    python make_fab.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, pyautoattack 0.2.0. For
each NORM, the shifts that pyautoattack's projection_NORM finds in float64:

    project.NORM.t, project.NORM.w [N, D] f4   points in the box, normals
    project.NORM.c [N] f8            height of the point above its plane
    project.NORM.d [N, D] f8         shifts

For each run METHOD.NETWORK.NORM of CASES, written from Algorithm 1 of Croce & Hein
2020 in float64, with the projections of pyautoattack, from float32 weights and images:

    RUN.x      [N, C, H, W] f4       images
    RUN.y      [N] i4                label: what the network says of the image
    RUN.length [N] i4                points
    RUN.path   [POINTS, N, C, H, W] f4   all points that are evaluated, run after
                                     run, zero after the last
    RUN.best   [N] f8                distance of the nearest misclassified one; 1e10: none

Each run is compared with pyautoattack's, whose nearest point must be ours, without the
search at the end. Of the images, those are taken whose path rounding cannot change: no
margin is small, and a first step from a point 1e-7 away gives nearly the same path.
"""

import numpy as np
import torch
from pyautoattack.fab_projections import projection_l1, projection_l2, projection_linf
from pyautoattack.fab_pt import FABAttack_PT

from make_golden import NETS
from make_trades import HERE, load

STEPS, TARGETS, SEARCH = 8, 2, 3
ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9
IMAGES = 2
PROJECT = {"linf": projection_linf, "l2": projection_l2, "l1": projection_l1}
CASES = [
    # method, network, norm
    ("fab-t", "strided", "linf"),
    ("fab-t", "residual", "l2"),
    ("fab-t", "padded", "l1"),
    ("fab", "dense", "linf"),
    ("fab", "strided", "l2"),
    ("fab", "dense", "l1"),
]


def size(d, norm):
    d = d.flatten()
    return {"linf": d.abs().max, "l2": d.norm, "l1": d.abs().sum}[norm]().item()


def project(t, w, c, norm):
    """The shift of t to the plane of normal w that is c below it."""
    t, w = t.double().flatten()[None], w.double().flatten()[None]
    return PROJECT[norm](t, w, (t * w).sum(1) - c)[0]


class Attack:
    """FAB on one image."""

    def __init__(self, net, x, y, norm, targeted):
        self.net, self.x, self.y, self.norm, self.targeted = net, x.double(), y, norm, targeted
        z = self.logits(self.x)
        self.order = [j for j in z.sort(descending=True).indices.tolist() if j != y]

    def logits(self, x):
        return self.net.forward(x[None])[0][0]

    def plane(self, x, target):
        """Normal of the plane to go to, and how far x is above it."""
        x = x.clone().requires_grad_()
        z = self.logits(x)
        nearest = None
        for j in [target] if self.targeted else range(len(z)):
            if j == self.y:
                continue
            gap = z[j] - z[self.y]
            w, = torch.autograd.grad(gap, x, retain_graph=True)
            dual = {"linf": w.abs().sum(), "l2": w.norm(), "l1": w.abs().max()}[self.norm]
            ratio = (gap.abs() / (1e-12 + dual)).item()
            if nearest is None or ratio < nearest[0]:
                nearest = ratio, w, gap.item()
        return nearest[1:]

    def margin(self, x):
        z = self.logits(x)
        return (z[self.y] - max(v for j, v in enumerate(z) if j != self.y)).item()

    def run(self, target, start):
        """Points evaluated, and the nearest misclassified one without a search and with it."""
        here, path, best = start, [self.x], (1e10, None)

        def look(x):
            nonlocal best
            path.append(x)
            if self.margin(x) < 0 and size(x - self.x, self.norm) < best[0]:
                best = size(x - self.x, self.norm), x

        after_step = 1e10  # pyautoattack looks at points after a step alone
        for k in range(STEPS):
            w, gap = self.plane(here, target)
            to_point = project(here, w, gap, self.norm).reshape(here.shape)
            to_image = project(self.x, w, gap + (w * (self.x - here)).sum().item(), self.norm).reshape(here.shape)
            d1, d2 = max(1e-8, size(to_point, self.norm)), max(1e-8, size(to_image, self.norm))
            alpha = min(d1 / (d1 + d2), ALPHA_MAX)
            here = ((1 - alpha) * (here + ETA * to_point) + alpha * (self.x + ETA * to_image)).clamp(0, 1)
            look(here)
            if self.margin(here) < 0:
                after_step = min(after_step, size(here - self.x, self.norm))
                if k < STEPS - 1:
                    here = self.x + BETA * (here - self.x)
                    look(here)
        if best[1] is not None:
            end, lo, hi = best[1], 0, 1
            m_lo, m_hi = self.margin(self.x), self.margin(end)
            path.append(self.x)
            for _ in range(SEARCH):
                share = m_lo / (m_lo - m_hi)
                share += 0.05 * (1 - share)
                at = lo + share * (hi - lo)
                look(self.x + at * (end - self.x))
                if (m := self.margin(path[-1])) < 0:
                    hi, m_hi = at, m
                else:
                    lo, m_lo = at, m
        return path, after_step, best[0]

    def go(self, start):
        path, after_step, best = [], [], 1e10
        for target in self.order[:TARGETS] if self.targeted else [None]:
            p, a, b = self.run(target, start)
            path += p
            after_step.append(a)
            best = min(best, b)
        return path, after_step, best


def reference(net, x, y, norm, rank):
    """Distance of pyautoattack's point."""
    a = FABAttack_PT(lambda x: net.forward(x.double())[0].float(), norm={"linf": "Linf", "l2": "L2", "l1": "L1"}[norm],
                     n_iter=STEPS, alpha_max=ALPHA_MAX, eta=ETA, beta=BETA)
    a.target_class = rank
    adv = a.attack_single_run(x[None], torch.tensor([y]), is_targeted=rank is not None)
    return size(adv[0].double() - x.double(), norm) or 1e10


def projections(out, rng):
    for norm in PROJECT:
        rows = {"t": [], "w": [], "c": [], "d": []}
        for k in range(24):
            d = 40
            t = rng.uniform(-0.5, 1.5, d).clip(0, 1).astype(np.float32)
            w = (rng.normal(size=d) * 10.0 ** rng.uniform(-2, 2)).astype(np.float32)
            w[rng.random(d) < 0.1] = 0
            w[np.abs(w) < 1e-6] = 0
            room = np.maximum(np.abs(w) * np.where(w > 0, t, 1 - t), 0).sum(dtype=np.float64)
            below = np.maximum(np.abs(w) * np.where(w < 0, t, 1 - t), 0).sum(dtype=np.float64)
            c = [room, -below][k % 2] * rng.uniform(0, [1, 0.05, 1.3][k % 3])
            for key, v in zip(rows, (t, w, c, project(torch.tensor(t), torch.tensor(w), c, norm).numpy())):
                rows[key].append(v)
        for key, v in rows.items():
            out[f"project.{norm}.{key}"] = np.stack(v)


def main():
    torch.set_num_threads(1)
    out, rng = {}, np.random.RandomState(3)
    projections(out, rng)
    for method, network, norm in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net = load(network, shape, layers)
        rows = {key: [] for key in ("x", "y", "length", "path", "best")}
        while len(rows["y"]) < IMAGES:
            x = torch.tensor(rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255))
            y = net.forward(x.double()[None])[0].argmax().item()
            a = Attack(net, x, y, norm, method == "fab-t")
            path, after_step, best = a.go(x.double())
            other, *_ = a.go((x.double() + torch.tensor(rng.uniform(-1e-7, 1e-7, shape))).clamp(0, 1))
            if min(abs(a.margin(p)) for p in path) < 2e-6 or len(path) != len(other) or max(size(p - q, "linf") for p, q in zip(path, other)) > 1e-6 or best == 1e10:
                continue
            for k, have in enumerate(after_step):
                want = reference(net, x, y, norm, k + 2 if a.targeted else None)
                assert abs(have - want) < 1e-3 * want, (method, network, norm, have, want)
            for key, v in zip(rows, (x.numpy(), y, len(path), torch.stack(path).float().numpy(), best)):
                rows[key].append(v)
        longest = max(rows["length"])
        rows["path"] = np.stack([np.pad(p, [(0, longest - len(p))] + [(0, 0)] * 3) for p in rows["path"]], axis=1)
        name = f"{method}.{network}.{norm}"
        for key, v in rows.items():
            v = np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        print(name, "points", rows["length"], "distances", np.round(rows["best"], 4))
    np.savez_compressed(HERE / "fab.npz", **out)


if __name__ == "__main__":
    main()
