"""Writes tiny.safetensors, the golden file of TestPythonGolden (package model).

Needs the packages numpy and safetensors. Every number is exact in float32.
The order of the metadata may differ from run to run; their meaning does not.
"""

import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

architecture = {
    "name": "tiny",
    "input": [2, 5, 4],
    "layers": [
        {"type": "normalize", "mean": [0.5, 0.25], "std": [0.25, 2]},
        {"type": "conv", "out": 3, "kernel": [3, 2], "stride": [2, 1], "padding": [1, 0]},
        {"type": "relu"},
        {"type": "conv", "out": 2, "kernel": 2},
        {"type": "relu"},
        {"type": "fc", "out": 3},
    ],
}
shapes = {
    "layers.1.weight": (3, 2, 3, 2),
    "layers.1.bias": (3,),
    "layers.3.weight": (2, 3, 2, 2),
    "layers.3.bias": (2,),
    "layers.5.weight": (3, 8),
    "layers.5.bias": (3,),
}
tensors = {}
for start, (name, shape) in enumerate(shapes.items()):
    n = int(np.prod(shape))
    tensors[name] = ((np.arange(n, dtype=np.float32) * 5 + start) % 17 - 8).reshape(shape) / np.float32(16)

metadata = {
    "format": "epsball",
    "version": "1",
    "architecture": json.dumps(architecture),
    "card.origin": "make_tiny.py, ε ≤ \"½\"",
}
save_file(tensors, pathlib.Path(__file__).with_name("tiny.safetensors"), metadata=metadata)
