"""Writes defend.npz beside it: images behind defences as other libraries have them. The
tests of package defend compare epsball with them.

    python make_defend.py

Last run with Python 3.11.7, numpy 2.4.6, scipy 1.17.1, Pillow 13.0.0, scikit-image
0.26.0, torch 2.15.0. Images are GREY, 2 test digits of MNIST of 28x28 pixels and one of
noise of 9x14, and COLOUR, one smooth image of 24x20. For each image IMAGE and each
defence below, IMAGE.TEXT holds the result, where TEXT is the defence's textual form:

    IMAGE                    [C, H, W] f4
    IMAGE.bits:depth=D       numpy, rint
    IMAGE.median:size=K      scipy.ndimage.median_filter
    IMAGE.gaussian:sigma=S   scipy.ndimage.gaussian_filter
    IMAGE.tv:weight=W,steps=K   skimage.restoration.denoise_tv_chambolle
    IMAGE.jpeg:quality=Q     Pillow (libjpeg-turbo), 4:2:0
    resize.H.W               torch.nn.functional.interpolate of digit0, bilinear
"""

import gzip
import io
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
import torch
from PIL import Image
from skimage.restoration import denoise_tv_chambolle

HERE = Path(__file__).parent


def images():
    with gzip.open(HERE.parent / "mnist" / "train-images-idx3-ubyte.gz") as f:
        digits = np.frombuffer(f.read(16 + 2 * 784), np.uint8, offset=16).reshape(2, 1, 28, 28)
    rng = np.random.default_rng(1)
    i, j = np.mgrid[:24, :20] / 24
    smooth = np.stack([0.5 + 0.4 * np.sin(3 * i + 2 * j), 0.2 + 0.6 * i * j, 0.9 - 0.5 * j])
    return {
        "digit0": digits[0] / np.float32(255), "digit1": digits[1] / np.float32(255),
        "noise": rng.random((2, 9, 14), np.float32), "colour": smooth.astype(np.float32),
    }


def jpeg(x, quality):
    x8 = np.rint(x * 255).astype(np.uint8)
    picture = Image.fromarray(x8[0] if len(x8) == 1 else x8.transpose(1, 2, 0))
    f = io.BytesIO()
    picture.save(f, "JPEG", quality=quality)
    back = np.asarray(Image.open(f)) / np.float32(255)
    return back[None] if len(x8) == 1 else back.transpose(2, 0, 1)


def main():
    out = {}
    for name, x in images().items():
        x = x.astype(np.float32)
        out[name] = x
        for depth in (1, 3, 8):
            top = np.float32(2**depth - 1)
            out[f"{name}.bits:depth={depth}"] = np.rint(x * top) / top
        for size in (2, 3, 5):
            out[f"{name}.median:size={size}"] = np.stack([ndi.median_filter(c, size=size, mode="reflect") for c in x])
        for sigma in (0.5, 1, 4):
            out[f"{name}.gaussian:sigma={sigma}"] = np.stack([ndi.gaussian_filter(c.astype(np.float64), sigma) for c in x])
        for weight, steps in ((0.1, 20), (0.4, 3), (0.05, 200)):
            out[f"{name}.tv:weight={weight},steps={steps}"] = np.stack(
                [denoise_tv_chambolle(c.astype(np.float64), weight, eps=0, max_num_iter=steps + 1) for c in x])
        if len(x) != 2:
            for quality in (50, 75, 95):
                out[f"{name}.jpeg:quality={quality}"] = jpeg(x, quality)
    digit = torch.from_numpy(out["digit0"])[None].double()
    for h, w in ((28, 28), (23, 23), (1, 17)):
        out[f"resize.{h}.{w}"] = torch.nn.functional.interpolate(digit, (h, w), mode="bilinear").numpy()
    np.savez_compressed(HERE / "defend.npz", **{k: np.asarray(v, np.float32) for k, v in out.items()})


main()
