"""Writes smoothadv.npz beside it: a training step of SmoothAdv (Salman et al. 2019) by PyTorch,
on golden networks of make_golden.py. The tests of package train compare epsball with it.

    python make_smoothadv.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each NAME:

    NAME.noise   [N, M, ...] f4  the noise of the M copies of each image
    NAME.points  [N, ...] f8     the points, without noise
    NAME.loss    [N] f8          the mean of the copies' cross-entropies there
    NAME.weight.I, NAME.bias.I f8  gradient of their mean to layer I

Points start at the images and ascend -log((1/M) sum F(x' + noise)_y) (equation 6), STEPS
steps of length STEP * EPS along the gradient over its length, within the L2 ball and the
pixel range. All is computed in float64 from float32 weights, pixels and noise, by autograd.
"""

import numpy as np
import torch
import torch.nn.functional as F

from make_fast import into_ball, unit
from make_golden import NETS
from make_trades import HERE, load

EPS, STEPS, STEP, M, SIGMA = 0.5, 3, 0.4, 3, 0.25  # EPS is that of make_fast's into_ball
NAMES = ("padded", "residual")


def main():
    out = {}
    for name in NAMES:
        shape, layers = next(s[2:] for s in NETS if s[0] == name)
        net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
        x, y = torch.tensor(golden["x"]).double(), torch.tensor(golden["y"]).long()
        noise = np.random.default_rng(5).normal(0, SIGMA, (len(x), M, *x.shape[1:])).astype("f4")
        given = torch.tensor(noise).double()
        params = {i: [t.double().requires_grad_() for t in p] for i, p in net.params.items()}

        def logits(points):
            seen = points[:, None] + given
            return net.forward(seen.flatten(0, 1), params)[0].reshape(len(x), M, -1)

        points = x
        for _ in range(STEPS):
            v = points.clone().requires_grad_()
            mean = F.softmax(logits(v), 2).mean(1)
            climbed = -torch.log(mean[torch.arange(len(x)), y])
            points = into_ball(points + STEP * EPS * unit(torch.autograd.grad(climbed.sum(), v)[0]), x)
        loss = F.cross_entropy(logits(points).flatten(0, 1), y.repeat_interleave(M), reduction="none").reshape(-1, M).mean(1)
        loss.mean().backward()
        out |= {f"{name}.noise": noise, f"{name}.points": points.numpy(), f"{name}.loss": loss.detach().numpy()}
        for i, p in params.items():
            for kind, t in zip(("weight", "bias"), p):
                out[f"{name}.{kind}.{i}"] = t.grad.numpy()
    np.savez_compressed(HERE / "smoothadv.npz", **out)


if __name__ == "__main__":
    main()
