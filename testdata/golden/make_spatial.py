"""Writes spatial.npz beside it: images turned and shifted by PyTorch, whose
affine_grid and grid_sample foolbox and others use. The tests of package attack
compare epsball with them.

    python make_spatial.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each shape I of SHAPES:

    I.images   [N, C, H, W] f4   images
    I.warping  [N, 3] f8         degrees, pixels to the right, pixels down
    I.warped   [N, C, H, W] f8   turned about the middle, then shifted
"""

import numpy as np
import torch
import torch.nn.functional as F

from make_trades import HERE

SHAPES = [(1, 9, 9), (3, 7, 6), (2, 5, 12)]
N = 12


def warp(x, degrees, right, down):
    _, h, w = x.shape
    a = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    # from the middle, in units of half the distance of the outer pixels: S (R^-1 (S^-1 q - t))
    s = torch.tensor([(w - 1) / 2, (h - 1) / 2], dtype=torch.float64)
    back = torch.stack([torch.stack([a.cos(), a.sin()]), torch.stack([-a.sin(), a.cos()])])
    shift = -back @ torch.tensor([right, down], dtype=torch.float64)
    theta = torch.cat([back * s[None] / s[:, None], (shift / s)[:, None]], 1)
    grid = F.affine_grid(theta[None], (1, *x.shape), align_corners=True)
    return F.grid_sample(x[None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)[0]


def main():
    rng, out = np.random.default_rng(6), {}
    for i, shape in enumerate(SHAPES):
        x = rng.random((N, *shape), dtype=np.float32)
        v = np.concatenate([rng.uniform(-180, 180, (N, 1)), rng.uniform(-4, 4, (N, 2))], 1)
        v[0], v[1], v[2], v[3] = (0, 0, 0), (0, 2, -1), (180, 0, 0), (-30, 0.5, 0)
        out[f"{i}.images"], out[f"{i}.warping"] = x, v
        out[f"{i}.warped"] = np.stack([warp(torch.tensor(a).double(), *b).numpy() for a, b in zip(x, v)])
    np.savez_compressed(HERE / "spatial.npz", **out)


if __name__ == "__main__":
    main()
