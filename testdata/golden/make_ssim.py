"""Writes ssim.npz beside it: the structural similarity of pairs of images by scikit-image.
The tests of package internal/pictures compare epsball with it.

    python make_ssim.py

Last run with Python 3.11.7, scikit-image 0.26.0, numpy 2.4.6. For each NAME of CASES:

    NAME.x, NAME.y  [C, H, W] f4    two images
    NAME.ssim       f8              as in Wang et al. 2004: Gaussian window, sigma 1.5

scikit-image averages over the positions at which the 11x11 window lies in the image.
"""

import pathlib

import numpy as np
from skimage.metrics import structural_similarity

HERE = pathlib.Path(__file__).parent
CASES = {
    # shape and the noise on the second image
    "gray": ((1, 28, 28), 0.1),
    "colour": ((3, 32, 24), 0.03),
    "one-window": ((1, 11, 11), 0.2),
    "unlike": ((1, 17, 40), None),
}


def main():
    rng = np.random.default_rng(5)
    out = {}
    for name, (shape, noise) in CASES.items():
        c, h, w = shape
        i, j = np.mgrid[:h, :w]
        x = 0.5 + 0.5 * np.sin(0.4 * i + 0.3 * j + np.arange(c)[:, None, None])
        y = 1 - x[:, ::-1] if noise is None else x + noise * rng.standard_normal(shape)
        x, y = (np.round(np.clip(v, 0, 1) * 255).astype("f4") / np.float32(255) for v in (x, y))
        out[f"{name}.x"], out[f"{name}.y"] = x, y
        out[f"{name}.ssim"] = structural_similarity(
            x.astype("f8"), y.astype("f8"), data_range=1, channel_axis=0,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    np.savez_compressed(HERE / "ssim.npz", **out)
    print({k: float(v) for k, v in out.items() if k.endswith("ssim")})


main()
