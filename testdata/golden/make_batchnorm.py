"""Writes batchnorm.npz beside it: steps of training by PyTorch on a network with batch
norms in training mode. The tests of package train compare epsball with it.

    python make_batchnorm.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each of the methods standard,
pgd and trades, STEPS steps of Adam at learning rate LR from the same weights:

    x, adv [N, C, H, W] f4      images and the points x' of pgd and trades
    y      [N] i4               labels
    LAYER.KIND f4               the weights at the start; KIND is weight, bias,
                                running_mean or running_var
    METHOD.STEP.loss [N] f8     of each image
    METHOD.STEP.LAYER.KIND.grad f8   gradient of their mean
    METHOD.STEP.LAYER.KIND f8   after the step

LAYER is the index of the layer in nn.Sequential, flatten left out. standard is
CE(f(x), y), pgd CE(f(x'), y), trades CE(f(x), y) + BETA KL(f(x) || f(x')), where f(x')
leaves the running statistics alone. All is computed in float64 from float32 weights and
pixels, by autograd.
"""

import copy
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

STEPS, LR, BETA, N = 3, 1e-2, 6, 11
HERE = pathlib.Path(__file__).parent


def network():
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6, eps=1e-3), nn.ReLU(),
        nn.Flatten(), nn.Linear(54, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    for m in net:
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.5, 0.5)
            nn.init.uniform_(m.running_mean, -0.5, 0.5)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return net


def layers(net):
    """The layers with parameters and their indices without flatten."""
    at = [m for m in net if not isinstance(m, nn.Flatten)]
    return [(i, m) for i, m in enumerate(at) if list(m.parameters())]


def tensors(m):
    kinds = ["weight", "bias"] + (["running_mean", "running_var"] if hasattr(m, "running_mean") else [])
    return [(k, getattr(m, k)) for k in kinds]


def frozen(net, x):
    """The outputs in training mode, the running statistics left alone."""
    norms = [m for m in net if hasattr(m, "running_mean")]
    keep = [m.momentum for m in norms]
    for m in norms:
        m.momentum = 0.0
    out = net(x)
    for m, k in zip(norms, keep):
        m.momentum = k
    return out


def losses(method, net, x, adv, y):
    if method == "pgd":
        return F.cross_entropy(net(adv), y, reduction="none")
    z = net(x)
    loss = F.cross_entropy(z, y, reduction="none")
    if method == "trades":
        w = frozen(net, adv)
        loss = loss + BETA * F.kl_div(F.log_softmax(w, 1), F.softmax(z, 1), reduction="none").sum(1)
    return loss


def main():
    start, r = network(), np.random.default_rng(2)
    x = r.random((N, 2, 6, 6), np.float32)
    adv = np.clip(x + r.uniform(-0.05, 0.05, x.shape).astype(np.float32), 0, 1)
    y = (np.arange(N) % 4).astype(np.int32)
    out = {"x": x, "adv": adv, "y": y}
    for i, m in layers(start):
        for kind, t in tensors(m):
            out[f"{i}.{kind}"] = t.detach().numpy().copy()
    for method in ("standard", "pgd", "trades"):
        net = copy.deepcopy(start).double().train()
        optimiser = torch.optim.Adam(net.parameters(), lr=LR)
        for step in range(STEPS):
            optimiser.zero_grad()
            loss = losses(method, net, torch.tensor(x).double(), torch.tensor(adv).double(), torch.tensor(y).long())
            loss.mean().backward()
            optimiser.step()
            name = f"{method}.{step}"
            out[f"{name}.loss"] = loss.detach().numpy()
            for i, m in layers(net):
                for kind, t in tensors(m):
                    out[f"{name}.{i}.{kind}"] = t.detach().numpy().copy()
                    if t.grad is not None:
                        out[f"{name}.{i}.{kind}.grad"] = t.grad.numpy().copy()
    np.savez_compressed(HERE / "batchnorm.npz", **out)


if __name__ == "__main__":
    main()
