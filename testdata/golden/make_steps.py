"""Writes steps.npz beside it: the points that attacks of other packages visit on the
golden networks of make_golden.py. The tests of package attack compare epsball with
them, point by point.

    pip install pyautoattack torchattacks
    python make_steps.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, pyautoattack 0.2.0,
torchattacks 3.5.1. mifgsm.l2 is written here: torchattacks has no L2. For each run:

    RUN.eps     f8                      radius of the ball
    RUN.x       [N, C, H, W] f4         images
    RUN.y       [N] i4                  label: what the network says of the image
    RUN.target  [N] i4                  class climbed towards, or -1
    RUN.start   [N, C, H, W] f4         where the run begins
    RUN.path    [POINTS, N, C, H, W] f4 points that the network sees
    RUN.length  [N] i4                  points up to the first one in the ball that fools it

The packages run in float64 and in float32; images whose points differ by more than
1e-6 are not taken, as are those with a fooling point near the rim of the ball that is not
meant to be there. The L1 attack of pyautoattack counts the values in which a point
differs from the image, some of which only rounding makes differ. Here it counts
differences above 1e-6. Its images are those of which no two losses that it compares are
nearly the same.
"""

import sys
import types

import numpy as np
import torch

sys.modules.setdefault("torchvision", types.ModuleType("torchvision"))
import torchattacks
from pyautoattack import autopgd_base as aa

from make_golden import LOSSES, NETS
from make_trades import HERE, load

IMAGES = 5
torch.set_num_threads(1)
aa.L0_norm = lambda d: (d.abs() > 1e-6).flatten(1).sum(1)


def apart(losses):
    """Whether each loss is clearly larger than all before it, or clearly not."""
    return all(abs(v - max(losses[:k])) > 4e-6 for k, v in enumerate(losses) if k)


class Classifier(torch.nn.Module):
    """A golden network that remembers what it was asked."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []
        self.device = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.net.forward(x)[0]


def others(make):
    """An attack of torchattacks, whose last point the network does not see."""
    def run(net, x, y, target, start, eps):
        draw, torch.randn_like = torch.randn_like, lambda t: start - x  # R+FGSM takes its sign
        last = make(net, eps).forward(x, y)
        torch.randn_like = draw
        return net.seen + [last]
    return run


class Patchwise(torchattacks.PIFGSM):
    """PIFGSM whose kernel has the type of the images."""

    def forward(self, x, y):
        self.dtype = x.dtype
        return super().forward(x, y)

    def project_kern(self, size):
        kernel, pad = super().project_kern(size)
        return kernel.to(self.dtype), pad


def momentum_l2(steps, alpha, decay):
    def run(net, x, y, target, start, eps):
        point, g = x, torch.zeros_like(x)
        for _ in range(steps):
            p = point.clone().requires_grad_()
            grad, = torch.autograd.grad(torch.nn.functional.cross_entropy(net(p), y), p)
            g = decay * g + grad / grad.abs().mean()
            d = point + alpha * g / g.norm() - x
            point = (x + d * min(1, eps / d.norm().item())).clamp(0, 1)
        return net.seen + [point]
    return run


def apgd_l1(loss, steps, stages):
    def run(net, x, y, target, start, eps):
        kind = aa.APGDAttack_targeted if target is not None else aa.APGDAttack
        attack = kind(net, n_iter=steps, norm="L1", eps=eps, device="cpu", **({} if target is not None else {"loss": loss}))
        attack.init_hyperparam(x)
        attack.y_target = target
        if not stages:
            attack.attack_single_run(x, y, x_init=start)
            return net.seen
        draw, torch.randn_like = torch.randn_like, lambda t: start - x
        first = -(-3 * steps // 10)
        attack.decr_eps_pgd(x, y, [3 * eps, 2 * eps, eps], [first, first, steps - 2 * first])
        torch.randn_like = draw
        return net.seen
    return run


CASES = {
    # run: network, norm, radius, where it starts, attack
    "bim": ("dense", "linf", 0.1, "x", others(lambda n, e: torchattacks.BIM(n, eps=e, alpha=0.02, steps=9))),
    "rfgsm": ("strided", "linf", 0.05, "signs", others(lambda n, e: torchattacks.RFGSM(n, eps=e, alpha=e / 2, steps=1))),
    "mifgsm": ("strided", "linf", 0.08, "x", others(lambda n, e: torchattacks.MIFGSM(n, eps=e, alpha=0.02, steps=9, decay=0.9))),
    "mifgsm.l2": ("dense", "l2", 0.2, "x", momentum_l2(9, 0.04, 0.9)),
    "nifgsm": ("residual", "linf", 0.05, "x", others(lambda n, e: torchattacks.NIFGSM(n, eps=e, alpha=0.01, steps=8, decay=0.8))),
    "pifgsm": ("padded", "linf", 0.04, "x", others(lambda n, e: Patchwise(n, max_epsilon=e, num_iter_set=8, amplification=2.5))),
    "apgd.l1": ("strided", "l1", 0.35, "sparse", apgd_l1("ce", 60, False)),
    "apgd.l1.dlr": ("residual", "l1", 0.2, "sparse", apgd_l1("dlr", 50, False)),
    "apgd.l1.stages": ("padded", "l1", 0.2, "far", apgd_l1("dlr", 50, True)),
}


def begin(kind, x, eps, rng):
    """A start point around image x."""
    d = np.zeros(x.shape)
    if kind == "signs":
        d = eps / 2 * rng.choice([-1, 1], x.shape)
    elif kind in ("sparse", "far"):
        d = rng.standard_normal(x.shape) * (rng.random(x.shape) < 0.4)
        d *= (0.9 if kind == "sparse" else 2.5) * eps / max(np.abs(d).sum(), 1e-9)
    return torch.tensor((x.numpy() + d).clip(0, 1).astype(np.float32))


def inside(norm, eps, x, point):
    """Whether the point lies in ball and box, and whether that is beyond doubt."""
    d = (point - x).abs()
    size = {"linf": d.max(), "l2": d.norm(), "l1": d.sum()}[norm].item()
    box = min(point.min().item(), 1 - point.max().item())
    rim = abs(size - eps) < 1e-6 * eps or size < eps
    return size < eps * (1 + 1e-6) and box >= -1e-9, rim or size > eps * 1.01


def run_one(name, net, norm, eps, kind, attack, targeted, rng, shape):
    x = torch.tensor(rng.randint(-60, 316, shape).clip(0, 255).astype(np.float32) / np.float32(255))
    z = net.forward(x.double()[None])[0][0]
    order = z.argsort(descending=True)
    y, target = order[0].item(), order[1].item() if targeted else -1
    start = begin(kind, x, eps, rng)
    paths = []
    for dtype in (torch.float64, torch.float32):
        classify = Classifier(net)
        with torch.enable_grad():
            path = attack(classify, x[None].to(dtype), torch.tensor([y]), torch.tensor([target]) if targeted else None,
                          start[None].to(dtype), eps)
        paths.append(torch.cat([p.detach().double() for p in path]))
    path, rough = paths
    if path.shape != rough.shape:
        return None
    if norm == "l1":
        loss = LOSSES["ce" if name == "apgd.l1" else "dlr"]
        y_, t_ = torch.tensor([y]), torch.tensor([target]) if targeted else None
        if not apart([loss(net.forward(p[None])[0], y_, t_).item() for p in path]):
            return None
    length = len(path)
    for k, p in enumerate(path):
        label = net.forward(p[None])[0][0].argmax().item()
        fools = label == target if targeted else label != y
        top = net.forward(p[None])[0][0].sort(descending=True).values
        if top[0] - top[1] < 1e-4:
            return None
        within, sure = inside(norm, eps, x.double(), p)
        if fools and not sure:
            return None
        if fools and within:
            length = k + 1
            break
    if (path[:length] - rough[:length]).abs().max() > 1e-6 or length < min(5, len(path)):
        return None
    path[length:] = path[length - 1]
    return x.numpy(), y, target, start.numpy(), path.numpy().astype(np.float32), length


def main():
    out = {}
    for name, (network, norm, eps, kind, attack) in CASES.items():
        _, _, shape, layers = next(n for n in NETS if n[0] == network)
        net, rng = load(network, shape, layers), np.random.RandomState(1)
        keys, rows = ("x", "y", "target", "start", "path", "length"), []
        tries = 0
        while len(rows) < IMAGES:
            tries += 1
            row = run_one(name, net, norm, eps, kind, attack, name.endswith("stages"), rng, shape)
            if row is not None:
                rows.append(row)
        out[f"{name}.eps"] = np.float64(eps)
        for key, v in zip(keys, zip(*rows)):
            v = np.stack(v, axis=1) if key == "path" else np.asarray(v)
            out[f"{name}.{key}"] = v.astype(np.int32) if v.dtype.kind == "i" else v
        print(name, tries, "lengths", out[f"{name}.length"], flush=True)
    np.savez_compressed(HERE / "steps.npz", **out)


if __name__ == "__main__":
    main()
