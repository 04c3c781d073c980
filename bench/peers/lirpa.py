"""Imports auto_LiRPA, making good what it misses in current libraries.

The release on PyPI was written for PyTorch below 1.13 and NumPy below 2. It
needs four names that have moved since; its arithmetic is untouched.
"""

import sys
import types

import numpy
import torch
import torch.onnx.symbolic_helper
import torch.onnx.utils


def _restore():
    if "numpy.lib.arraysetops" not in sys.modules and int(numpy.__version__.split(".")[0]) >= 2:
        module = types.ModuleType("numpy.lib.arraysetops")
        module.isin = numpy.isin
        sys.modules[module.__name__] = module
    if not hasattr(torch.onnx.symbolic_helper, "_set_opset_version"):
        from torch.onnx._internal.torchscript_exporter import _globals, utils

        def set_opset_version(version):
            _globals.GLOBALS.export_onnx_opset_version = version

        torch.onnx.symbolic_helper._set_opset_version = set_opset_version
        torch.onnx.utils._optimize_graph = utils._optimize_graph
    if not hasattr(torch._C.Node, "__getitem__"):
        torch._C.Node.__getitem__ = lambda node, key: getattr(node, node.kindOf(key))(key)


try:
    _restore()
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm
except (ImportError, AttributeError) as e:
    BoundedModule, why = None, f"{type(e).__name__}: {e}"
