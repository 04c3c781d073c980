"""Writes minimal.npz beside it: runs of the attacks that look for the smallest
distance by gradient, on the golden networks of make_golden.py. The tests of
package attack compare epsball with them.

    python make_minimal.py [--check]

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. Written from the papers
(see attack/{deepfool,cw,ddn,fmn,ead}.go), in float64, gradients by autograd,
from float32 weights and images. For each run METHOD.NETWORK.NORM.KIND of CASES,
where KIND is untargeted or targeted:

    RUN.text    the textual form of the attack, as bytes
    RUN.x       [N, C, H, W] f4    images
    RUN.y       [N] i4             label: what the network says of the image
    RUN.target  [N] i4             -1: none
    RUN.length  [N] i4             points that are evaluated
    RUN.path    [sum of length, C, H, W] f4   these points, image after image

Of the images, those are taken whose path rounding cannot change: no margin, ReLU
or comparison is near the value at which it decides otherwise.

--check runs the attacks as adv-lib 0.2.8 and foolbox 3.3.4 have them (pip install
adv-lib foolbox) on the same images, and compares the distances found with those of
this file. It leaves out what epsball does otherwise, which the comments below and
those of the Go files name.
"""

import math
import sys

import numpy as np
import torch

from make_golden import NETS
from make_trades import HERE, load

CHECK = "--check" in sys.argv
IMAGES = 3
ORDER = {"linf": math.inf, "l2": 2, "l1": 1, "l0": 0}
CASES = [
    # method, network, norm, targeted, settings
    ("deepfool", "strided", "l2", False, {"steps": 20}),
    ("deepfool", "dense", "linf", False, {"steps": 20, "overshoot": 0.05}),
    ("cw", "dense", "l2", False, {"steps": 16, "searches": 4, "weight": 0.5, "rate": 0.03}),
    ("cw", "dense", "l2", True, {"steps": 16, "searches": 3, "weight": 1.0, "rate": 0.03}),
    ("ddn", "strided", "l2", False, {"steps": 20, "init-norm": 0.5}),
    ("ddn", "dense", "l2", True, {"steps": 20}),
    ("fmn", "strided", "linf", False, {"steps": 15, "alpha": 0.5}),
    ("fmn", "dense", "l2", True, {"steps": 20}),
    ("fmn", "dense", "l1", False, {"steps": 20}),
    ("fmn", "dense", "l0", False, {"steps": 12}),
    ("ead", "dense", "l1", False, {"steps": 16, "searches": 3, "weight": 0.5, "rate": 0.05}),
    ("ead", "dense", "l1", True, {"steps": 12, "searches": 3, "weight": 2.0, "rate": 0.05}),
]


class Unsure(Exception):
    """Rounding could change what happens."""


def sure(*gaps, least=1e-6):
    if any(not abs(g) > least for g in gaps):
        raise Unsure


class Run:
    """An attack on one image. The points evaluated are in path."""

    def __init__(self, net, x, y, target, norm, check=False):
        self.net, self.c, self.y, self.target = net, x.double(), y, target
        self.p, self.check = ORDER[norm], check  # check: as the other library does
        self.path, self.best = [], math.inf

    def logits(self, x):
        """Logits and their graph's input, which keep the point in the path."""
        self.x = x.clone().requires_grad_()
        self.path.append(x.clone())
        z, pre = self.net.forward(self.x[None])
        if not self.check:
            for p in pre:
                sure(p.abs().min() / p.abs().max())
        z = z[0]
        goal = self.y if self.target < 0 else self.target
        others = z.detach().clone()
        others[goal] = -math.inf
        top = others.sort(descending=True).values
        if not self.check:
            sure(z[goal] - top[0], top[0] - top[1], least=1e-5)
        # what is climbed: above 0 where the point is what is looked for
        self.margin = (others.max() - z[goal]) if self.target < 0 else (z[goal] - others.max())
        self.margin_graph = self.sign() * (z[goal] - z[int(others.argmax())])
        self.fools = self.margin.item() > 0
        if self.fools:
            self.best = min(self.best, self.length(x - self.c))
        return z

    def sign(self):
        return -1 if self.target < 0 else 1

    def grad(self, f):
        g, = torch.autograd.grad(f, self.x, retain_graph=True)
        sure(g.norm())
        return g

    def length(self, d):
        return torch.linalg.vector_norm(d.flatten(), self.p).item()

    def farthest(self):
        return self.length(torch.maximum(self.c, 1 - self.c))

    def deepfool(self, steps, overshoot=0.02, candidates=10):
        x, order = self.c, None
        for _ in range(steps):
            z = self.logits(x)
            if self.fools:
                return
            if order is None:
                order = [k for k in z.detach().argsort(descending=True).tolist() if k != self.y][:candidates - 1]
            ways = []
            for k in order:
                w = self.grad(z[k] - z[self.y])
                norm = torch.linalg.vector_norm(w, 2 if self.p == 2 else 1).item()
                ways.append(((z[k] - z[self.y]).abs().item() / norm + 1e-4, norm, w))
            ways.sort(key=lambda t: t[0])
            if not self.check and len(ways) > 1:
                sure(ways[1][0] - ways[0][0])
            way, norm, w = ways[0]
            step = w / norm if self.p == 2 else w.sign()
            if not self.check and self.p != 2:
                sure(*(w[w != 0].abs() / w.abs().max()).tolist())
            x = (x + (1 + overshoot) * way * step).clamp(0, 1)
        if not self.check:
            self.logits(x)

    def ddn(self, steps, gamma=0.05, init_norm=1.0):
        delta, radius = torch.zeros_like(self.c), init_norm
        for i in range(steps):
            z = self.logits(self.c + delta)
            goal = self.y if self.target < 0 else self.target
            g = self.grad(torch.nn.functional.cross_entropy(z[None], torch.tensor([goal]))) * -self.sign()
            delta = delta + (0.01 + 0.99 * (1 + math.cos(math.pi * i / steps)) / 2) * g / g.norm()
            radius = min(radius * (1 - gamma if self.fools else 1 + gamma), self.farthest())
            delta = (self.c + delta * radius / delta.norm()).clamp(0, 1) - self.c
        if not self.check:
            self.logits(self.c + delta)

    def fmn(self, steps, alpha=1.0, gamma=0.05):
        delta, radius, most = torch.zeros_like(self.c), 1.0, self.farthest()
        best, found = most, False
        for i in range(steps):
            self.logits(self.c + delta)
            g = self.grad(self.margin_graph)
            share = (1 + math.cos(math.pi * i / steps)) / 2
            a, r = alpha / 100 + alpha * 0.99 * share, 0.001 + (gamma - 0.001) * share
            distance = self.length(delta)
            found |= self.fools
            if self.fools:
                best = min(best, distance)
            way = distance + abs(self.margin.item()) / torch.linalg.vector_norm(
                g, {0: 1, 1: math.inf, 2: 2, math.inf: 1}[self.p]).item()
            if self.p == 0:
                radius = max(0, min(radius - 1, math.floor(radius * (1 - r)), best)) if self.fools else max(
                    radius + 1, math.floor(radius * (1 + r)))
            elif self.fools:
                radius = min(radius * (1 - r), best)
            elif found:
                radius *= 1 + r
            elif self.check or self.p == math.inf or i == 0:
                radius = way
            else:  # the paper has way alone, which may come close to the boundary without ever crossing it
                radius = max(way + r * distance, radius * (1 + r))
            radius = min(radius, most)
            delta = self.shrink(delta + a * g / g.norm(), radius)
            delta = (self.c + delta).clamp(0, 1) - self.c
        if not self.check:
            self.logits(self.c + delta)

    def shrink(self, d, radius):
        """The projection of d to the ball of that radius."""
        size = d.abs()
        if self.p == math.inf:
            return d.clamp(-radius, radius)
        if self.p == 2:
            scale = radius / d.norm().item()
            return d * (scale if self.check else min(1, scale))  # adv-lib goes to the sphere
        down = size.flatten().sort(descending=True).values
        if self.p == 0:
            n = max(1, int(radius))
            if not self.check and n < len(down):
                sure(down[n - 1] - down[n], least=1e-5)
            return torch.where(size >= down[n - 1], d, 0)
        if size.sum() <= radius:
            return d
        theta = max((down[:k].sum().item() - radius) / k for k in range(1, len(down) + 1))
        return d.sign() * (size - theta).clamp(min=0)

    def weights(self, searches, weight):
        """Bisection: yields weights; the last one's outcome is in self.found."""
        lower, upper = 0.0, 1e10
        for k in range(searches):
            if searches >= 10 and k == searches - 1:
                weight = upper
            self.found, self.last, self.stalls = False, math.inf, 0
            yield weight
            if self.found:
                upper = min(upper, weight)
            else:
                lower = max(lower, weight)
            if upper < 1e9:
                weight = (lower + upper) / 2
            elif not self.found:
                weight *= 10

    def stalled(self, loss):
        if not self.check and self.last < math.inf:
            sure((loss - 0.9999 * self.last) / max(loss, 1e-9), least=1e-5)
        self.stalls = 0 if loss <= 0.9999 * self.last else self.stalls + 1
        self.last = loss
        return self.stalls == (1 if self.check else 2)

    def cw(self, steps, searches=9, weight=0.001, rate=0.01):
        start = torch.atanh((2 * self.c - 1) * (1 - 1e-6))
        for c in self.weights(searches, weight):
            w, m, v = start.clone(), 0, 0
            x = (w.tanh() + 1) / 2 if self.check else self.c
            for i in range(steps):
                self.logits(x)
                self.found |= self.fools
                hinge = max(0, -self.margin.item())
                if i % max(1, steps // 10) == 0 and self.stalled((x - self.c).norm().item() ** 2 + c * hinge):
                    break
                s = (w.tanh() + 1) / 2
                g = 2 * (x - self.c)
                if hinge > 0:
                    g = g - c * self.grad(self.margin_graph)
                g = g * 2 * s * (1 - s)
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                w = w - rate / (1 - 0.9 ** (i + 1)) * m / (v.sqrt() / math.sqrt(1 - 0.999 ** (i + 1)) + 1e-8)
                x = (w.tanh() + 1) / 2

    def ead(self, steps, searches=9, weight=0.001, rate=0.01, beta=0.01):
        for c in self.weights(searches, weight):
            x = y = self.c
            for i in range(steps):
                if i != 1:  # y_1 is x_1
                    best = self.best
                    self.logits(y)
                    self.best = best if self.check else self.best
                hinge = max(0, -self.margin.item())
                if i % math.ceil(steps / 10) == 0 and self.stalled(
                        (0 if self.check else beta * self.length(y - self.c)) + (y - self.c).norm().item() ** 2 + c * hinge):
                    break
                g = 2 * (y - self.c)
                if hinge > 0:
                    g = g - c * self.grad(self.margin_graph)
                z = y - rate * math.sqrt(1 - i / steps) * g
                before, x = x, torch.where(z - self.c > beta, (z - beta).clamp(max=1), torch.where(
                    z - self.c < -beta, (z + beta).clamp(min=0), self.c))
                self.logits(x)
                self.found |= self.fools
                y = x + i / (i + 3) * (x - before)


def others(x, y, target, module, method, norm, values):
    """The distance that adv-lib or foolbox finds; None: not."""
    import foolbox
    from adv_lib.attacks import ddn, fmn
    from adv_lib.attacks.carlini_wagner import carlini_wagner_l2
    from adv_lib.attacks.deepfool import df

    x, order, v = x.double()[None], ORDER[norm], settings(values)
    goal, targeted = torch.tensor([y if target < 0 else target]), target >= 0
    if method == "deepfool":
        adv = df(module, x, goal, norm=order, **v)
    elif method == "ddn":
        adv = ddn(module, x, goal, targeted, levels=None, **{("γ" if k == "gamma" else k): w for k, w in v.items()})
    elif method == "fmn":
        adv = fmn(module, x, goal, order, targeted, v["steps"], α_init=v.get("alpha", 1.0))
    elif method == "cw":
        adv = carlini_wagner_l2(module, x, goal, targeted, learning_rate=v["rate"], initial_const=v["weight"],
                                binary_search_steps=v["searches"], max_iterations=v["steps"])
    else:
        a = foolbox.attacks.EADAttack(v["searches"], v["steps"], v["rate"], 0, v["weight"], v.get("beta", 0.01), "L1")
        criterion = foolbox.criteria.TargetedMisclassification(goal) if targeted else foolbox.criteria.Misclassification(goal)
        adv = a.run(foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu"), x, criterion)
    if (module(adv).argmax() == goal.item()) != targeted:
        return None
    return torch.linalg.vector_norm((adv - x).flatten(), order).item()


class Module(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.forward(x)[0]


def settings(values):
    return {k.replace("-", "_"): v for k, v in values.items()}


def text(method, targeted, values):
    parts = [f"{k}={v}" for k, v in values.items()] + ["targeted"] * targeted
    return method + ":" + ",".join(parts)


def main():
    out = {}
    for method, network, norm, targeted, values in CASES:
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(3)
        rows, tried, fooled = {key: [] for key in ("x", "y", "target", "length", "path")}, 0, 0
        while len(rows["y"]) < IMAGES:
            tried += 1
            x = torch.tensor(rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255))
            z = net.forward(x.double()[None])[0][0]
            y = z.argmax().item()
            target = z.argsort(descending=True)[1].item() if targeted else -1
            run = Run(net, x, y, target, norm)
            try:
                getattr(run, method)(**settings(values))
            except Unsure:
                continue
            if run.best == math.inf:
                continue
            if CHECK:
                again = Run(net, x, y, target, norm, check=True)
                getattr(again, method)(**settings(values))
                try:
                    theirs = others(x, y, target, Module(net).eval(), method, norm, values)
                except RuntimeError as error:  # FMN for L0, with a radius of 0
                    theirs = error
                print(f"    {method} {norm}: {again.best:.7f}, theirs {theirs}")
            path = torch.stack(run.path).float().numpy()
            for key, v in zip(rows, (x.numpy(), y, target, len(path), path)):
                rows[key].append(v)
        rows["path"] = np.concatenate(rows["path"])
        name = f"{method}.{network}.{norm}.{'targeted' if targeted else 'untargeted'}"
        out[f"{name}.text"] = np.frombuffer(text(method, targeted, values).encode(), np.uint8)
        for key, v in rows.items():
            v = np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        print(name, "of", tried, "lengths", rows["length"])
    np.savez_compressed(HERE / "minimal.npz", **out)


if __name__ == "__main__":
    main()
