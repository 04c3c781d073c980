"""Writes the ONNX networks of onnx/ and onnx/golden.json, what ONNX Runtime says
about them; package internal/onnx tests against both.

    python make_onnx.py [FOLDER]

FOLDER, by default ../../../shared/data/vnncomp, holds networks of VNN-COMP as
FAMILY/onnx/NET.onnx.gz; their outputs are recorded, the networks are not copied.
Go has to be there: epsball exports networks, which ONNX Runtime then runs.

Last run with Python 3.11.7, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, torch 2.15.0.

golden.json:

    nets     {NAME: {"input": declared dimensions without the batch,
             "layout": how epsball's image lies in them, "outputs": for each image}}
             for onnx/NAME.onnx (with NAME.onnx.data, if its weights are external) and the
             networks of FOLDER
    refused  {NAME: [words of the error]} for onnx/refused/NAME.onnx
    exports  {MODEL: {"sha256": of the bytes that epsball exports, "outputs"}} for
             built-in models

Image k has the pixels pixel(k, i) of test images, in the order that the network declares.
"""

import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn as nn
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "onnx"
IMAGES = 2
rng = np.random.default_rng(7)


def pixels(k, shape):
    """Numbers in [0, 1) that Go computes as well."""
    n = int(np.prod(shape))
    u = (np.arange(n, dtype=np.uint64) * 2654435761 + np.uint64(k * 40503 + 12345)) & 0xFFFFFFFF
    u ^= u >> np.uint64(16)
    u = (u * np.uint64(0x45D9F3B)) & np.uint64(0xFFFFFFFF)
    u ^= u >> np.uint64(16)
    return ((u >> np.uint64(8)).astype(np.float64) / 2**24).astype(np.float32).reshape(shape)


def weights(*shape, scale=None):
    scale = scale or 1.5 / np.sqrt(max(1, np.prod(shape[1:])))
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def run(model, x):
    """model: bytes or a path, which external data needs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    s = ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])
    return s.run(None, {s.get_inputs()[0].name: x})[0]


def outputs(model, dims, batch=1, dtype=np.float32):
    got = []
    for k in range(IMAGES):
        x = np.stack([pixels(k, dims)] * batch) if batch else pixels(k, dims)
        y = run(model, x.astype(dtype))
        y = y.reshape(batch, -1)[0] if batch else y.reshape(-1)
        got.append([float(v) for v in y.astype(np.float64)])
    return got


class Graph:
    """Nodes in a row: each method appends one that reads the last value."""

    def __init__(self, dims, batch="N", opset=13, ir=8, dtype=TensorProto.FLOAT, inputs_too=False):
        self.dims, self.batch, self.opset, self.ir, self.dtype = dims, batch, opset, ir, dtype
        self.nodes, self.inits, self.last, self.count = [], [], "x", 0
        self.inputs_too = inputs_too

    def const(self, value, name=None):
        name = name or f"c{len(self.inits)}"
        self.inits.append(value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name))
        return self.inits[-1].name

    def __call__(self, op, *inputs, at=None, **attrs):
        """A tuple among inputs is a constant; at replaces the last value, None none."""
        self.count += 1
        out = f"v{self.count}"
        ins = [at or self.last] + [i if isinstance(i, str) else self.const(i) for i in inputs]
        self.nodes.append(helper.make_node(op, ins, [out], name=f"{op}_{self.count}", **attrs))
        self.last = out
        return out

    def model(self):
        lead = [] if self.batch is None else [self.batch]
        vi = [helper.make_tensor_value_info("x", self.dtype, lead + list(self.dims))]
        if self.inputs_too:
            vi += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in self.inits]
        y = onnx.ValueInfoProto(name=self.last)
        y.type.tensor_type.elem_type = self.dtype
        g = helper.make_graph(self.nodes, "made", vi, [y], self.inits)
        m = helper.make_model(g, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="make_onnx")
        m.ir_version = self.ir
        return m.SerializeToString()


NETS, REFUSED, DATA = {}, {}, {}


def net(dims, layout="", **options):
    def wrap(f):
        g = Graph(dims, **options)
        f(g)
        NETS[f.__name__] = (g.model(), list(dims), layout, g)
        return f
    return wrap


def refused(*words, dims=(2, 6, 6), **options):
    def wrap(f):
        g = Graph(dims, **options)
        model = f(g)
        REFUSED[f.__name__] = (model or g.model(), words)
        return f
    return wrap


def conv(g, out, cin, *kernel, bias=True, **attrs):
    extra = [weights(out, scale=0.3)] if bias else []
    return g("Conv", weights(out, cin, *kernel), *extra, **attrs)


def dense(g, out, n):
    g("Flatten")
    return g("Gemm", weights(out, n), weights(out, scale=0.3), transB=1)


# Convolutions and padding.


@net((2, 7, 6))
def conv_asymmetric(g):
    conv(g, 3, 2, 3, 2, pads=[0, 1, 2, 0], strides=[2, 1])
    g("Relu")
    conv(g, 4, 3, 2, 3, pads=[1, 0, 0, 2], strides=[1, 2], bias=False)


@net((2, 7, 6))
def conv_same_upper(g):
    conv(g, 3, 2, 3, 4, auto_pad="SAME_UPPER", strides=[2, 2])
    g("Relu")
    conv(g, 2, 3, 2, 2, auto_pad="SAME_UPPER")
    g("Relu")
    dense(g, 3, 24)


@net((2, 7, 6))
def conv_same_lower(g):
    conv(g, 3, 2, 4, 3, auto_pad="SAME_LOWER", strides=[2, 2])
    g("Relu")
    conv(g, 2, 3, 2, 2, auto_pad="SAME_LOWER")
    g("Relu")


@net((2, 7, 6))
def conv_valid(g):
    conv(g, 3, 2, 3, 3, auto_pad="VALID", kernel_shape=[3, 3])
    g("Flatten")


@net((2, 5, 4))
def conv_wide_padding(g):
    conv(g, 3, 2, 1, 1, pads=[1, 2, 3, 0])
    g("Relu")
    conv(g, 3, 3, 2, 2, pads=[2, 2, 2, 2], strides=[3, 3])


@net((2, 9))
def conv_1d(g):
    conv(g, 3, 2, 3, pads=[1, 1], strides=[2])
    g("Relu")
    g("AveragePool", kernel_shape=[2])
    dense(g, 4, 12)


# Linear layers.


@net((6,))
def gemm_variants(g):
    g("Gemm", weights(6, 5), weights(1, 5), alpha=0.7, beta=-1.3)
    g("Relu")
    g("Gemm", weights(4, 5), np.float32(0.25), transB=1)
    g("Relu")
    g("Gemm", weights(4, 3), alpha=2.0)


@net((6,))
def matmul_add(g):
    g("MatMul", weights(6, 5))
    g("Add", weights(1, 5))
    g("Relu")
    w = g.const(weights(4, 5))
    x = g.last
    t = g("Transpose", at=w, perm=[1, 0])  # constants are folded
    g("MatMul", t, at=x)
    g.nodes[-1].input[0] = x
    last = g.last
    b = g.const(weights(4))
    g("Add", last, at=b)  # the constant first


@net((1, 1, 5), batch=1)
def acas_like(g):
    """A rank of 4, one mean for each feature."""
    g("Sub", weights(1, 1, 1, 5))
    g("Flatten", axis=1)
    g("MatMul", weights(5, 6))
    g("Add", weights(6))
    g("Relu")
    g("MatMul", weights(6, 5))
    g("Add", weights(5))


@net((12,), batch=None)
def no_batch(g):
    g("MatMul", weights(12, 5))
    g("Add", weights(5))
    g("Relu")
    g("Unsqueeze", np.array([0]))
    g("Gemm", weights(5, 2))


@net((12,))
def image_from_vector(g):
    g("Sub", np.float32(0.5))
    g("Div", np.float32(0.25))
    g("Reshape", np.array([-1, 3, 2, 2]))
    conv(g, 2, 3, 2, 2, pads=[1, 1, 1, 1])
    g("Relu")
    g("Reshape", np.array([0, -1]))
    g("Gemm", weights(18, 3))


# Normalization and other constants.


@net((3, 4, 4))
def normalize(g):
    g("Sub", np.array([0.4, 0.5, 0.6], np.float32).reshape(1, 3, 1, 1))
    g("Div", np.array([0.2, 0.3, 0.25], np.float32).reshape(3, 1, 1))
    conv(g, 4, 3, 3, 3, pads=[1, 1, 1, 1])
    g("Relu")
    dense(g, 2, 64)


@net((3, 4, 4))
def normalize_by_product(g):
    """Not (x - mean) / std: folded, or a layer of its own before padding."""
    g("Mul", np.array([3.3, 2.1, 0.7], np.float32).reshape(3, 1, 1))
    g("Add", np.array([-0.4, 0.5, 0.6], np.float32).reshape(1, 3, 1, 1))
    conv(g, 4, 3, 3, 3, pads=[1, 1, 1, 1])
    g("Relu")
    dense(g, 2, 64)


@net((3, 4, 4))
def normalize_into_weights(g):
    g("Mul", np.float32(1 / 0.3))
    g("Sub", np.array([0.4, 0.5, 0.6], np.float32).reshape(3, 1, 1))
    conv(g, 4, 3, 3, 3)
    g("Relu")


@net((4, 5, 3), layout="HWC")
def normalize_channels_last(g):
    g("Sub", np.array([0.4, 0.5, 0.6], np.float32))
    g("Mul", np.float32(4))
    g("Transpose", perm=[0, 3, 1, 2])
    conv(g, 4, 3, 3, 3, pads=[1, 1, 1, 1])
    g("Relu")
    g("Transpose", perm=[0, 2, 3, 1])
    g("Reshape", np.array([-1, 80]))
    g("MatMul", weights(80, 3))
    g("Add", weights(3))


@net((2, 4, 4))
def constants_between(g):
    """Constants after a relu: into the next layer, or a layer of their own."""
    conv(g, 3, 2, 3, 3)
    g("Mul", np.float32(0.5))
    g("Add", weights(3, 1, 1))
    g("Relu")
    g("Mul", weights(1, 3, 1, 1))
    g("Sub", weights(3, 1, 1))
    conv(g, 3, 3, 2, 2, pads=[0, 0, 1, 1])
    g("Relu")
    g("Div", np.array([2, 4, 3], np.float32).reshape(3, 1, 1))
    g("Relu")
    g("Sub", np.float32(1), at=g.last)
    c = g.const(np.float32(0.75))
    g("Sub", g.last, at=c)
    g("Mul", weights(3, 2, 2))  # one for each element: a Gemm takes them
    dense(g, 3, 12)
    g("Add", weights(3))


def batch_norm(g, c, **attrs):
    return g("BatchNormalization", weights(c, scale=1), weights(c), weights(c), np.abs(weights(c, scale=1)) + np.float32(0.1), **attrs)


@net((2, 5, 5))
def batch_norm_folded(g):
    batch_norm(g, 2)  # before padding
    conv(g, 3, 2, 3, 3, pads=[1, 1, 1, 1], bias=False)
    batch_norm(g, 3, epsilon=1e-3)
    g("Relu")
    batch_norm(g, 3)
    conv(g, 3, 3, 3, 3)
    g("Relu")
    g("Flatten")
    g("Gemm", weights(27, 4))
    batch_norm(g, 4)
    g("Relu")
    batch_norm(g, 4)


# Residual networks.


@net((2, 6, 6))
def residual(g):
    a = conv(g, 3, 2, 3, 3, pads=[1, 1, 1, 1])
    a = g("Relu")
    conv(g, 3, 3, 3, 3, pads=[1, 1, 1, 1])
    g("Relu")
    b = conv(g, 3, 3, 3, 3, pads=[1, 1, 1, 1])
    g("Add", a)
    c = g("Relu")
    d = g("Conv", weights(4, 3, 1, 1), at=c, strides=[2, 2])
    e = g("Conv", weights(4, 3, 3, 3), at=c, strides=[2, 2], pads=[1, 1, 1, 1])
    g("Add", d)
    g("Relu")
    dense(g, 3, 36)


@net((2, 4, 4))
def residual_odd(g):
    """What the layers of a model do not say directly."""
    z = conv(g, 2, 2, 3, 3, pads=[1, 1, 1, 1])
    r = g("Relu")
    q = conv(g, 2, 2, 3, 3, pads=[1, 1, 1, 1])
    s = g("Add", z)  # z is read by a relu and by an add
    t = g("Relu")
    u = g("Add", r)  # neither is a convolution
    v = g("Sub", t)
    g("Add", v)  # 2 v
    w = g("Add", u)
    g("Sub", w, at=z)
    g("Add", "x")


@net((5,))
def residual_dense(g):
    a = g("Gemm", weights(5, 5), weights(5))
    g("Relu")
    g("Gemm", weights(5, 5), weights(5))
    g("Add", a)
    g("Relu")
    g("Add", "x")


@net((2, 3, 4), layout="HWC")
def residual_channels_last(g):
    g("Transpose", perm=[0, 3, 1, 2])
    conv(g, 4, 4, 1, 1)
    g("Relu")
    x = g("Transpose", perm=[0, 2, 3, 1])
    g("Transpose", perm=[0, 3, 1, 2])
    conv(g, 4, 4, 3, 3, pads=[1, 1, 1, 1])
    g("Transpose", perm=[0, 2, 3, 1])
    g("Add", x)
    g("Add", weights(4))
    g("Relu")
    g("ReduceMean", axes=[1, 2], keepdims=0)
    g("MatMul", weights(4, 3))


# Shapes.


@net((2, 3, 3), batch=1, opset=11)
def squeezes(g):
    g("Squeeze", axes=[0])
    g("Unsqueeze", axes=[0, 4])
    g("Squeeze", axes=[-1])
    conv(g, 3, 2, 3, 3)
    g("Squeeze")
    g("Unsqueeze", axes=[0])
    g("Gemm", weights(3, 2))


@net((2, 4, 4))
def computed_shape(g):
    """x.view(x.size(0), -1)"""
    conv(g, 2, 2, 2, 2)
    x = g("Relu")
    g("Shape")
    g("Gather", np.array(0), axis=0)
    n = g("Unsqueeze", np.array([0]))
    rest = g.const(np.array([-1]))
    g("Concat", rest, at=n, axis=0)
    g("Reshape", g.last, at=x)
    g("Gemm", weights(18, 3))


@net((2, 4, 4), batch=4)
def sliced_shape(g):
    conv(g, 2, 2, 2, 2)
    x = g("Relu")
    g("Shape")
    n = g("Slice", np.array([0]), np.array([1]), np.array([0]))
    rest = g.const(np.array([18]))
    g("Concat", rest, at=n, axis=0)
    g("Cast", to=TensorProto.INT64)
    g("Reshape", g.last, at=x)
    g("Gemm", weights(18, 3))


@net((4, 4, 2), layout="HWC")
def transposed_pairs(g):
    """Every convolution between its own transposes."""
    for out, cin in ((3, 2), (2, 3)):
        g("Transpose", perm=[0, 3, 1, 2])
        conv(g, out, cin, 2, 2, bias=False)
        g("Transpose", perm=[0, 2, 3, 1])
        g("Add", weights(out))
        g("Relu")
    g("Flatten")
    g("Gemm", weights(8, 3))


@net((5,))
def painted(g):
    """Images made by dense layers, as generators and bias fields are."""
    x = g("Gemm", weights(5, 12), weights(12), alpha=0.5)
    g("Reshape", np.array([-1, 1, 3, 4]))
    conv(g, 2, 1, 2, 2, pads=[1, 1, 0, 0])
    g("Relu")
    g("Flatten")
    g("Gemm", weights(24, 12), weights(12))
    y = g("Relu")
    g("Add", x)
    g("Gemm", weights(12, 18), weights(18), at=y)
    g("Relu")
    g("Mul", weights(18, scale=1) * np.float32(0) + np.float32(3))
    g("Reshape", np.array([-1, 3, 2, 3]))
    g("Transpose", perm=[0, 3, 1, 2])
    g("Sub", weights(3, 1, 1))
    conv(g, 2, 3, 2, 2)


@net((3, 4, 2), layout="HWC")
def pad_channels_last(g):
    g("Mul", np.float32(2))
    g("Pad", np.array([0, 1, 0, 0, 0, 0, 2, 0]))
    g("Transpose", perm=[0, 3, 1, 2])
    conv(g, 2, 2, 2, 2)
    g("Transpose", perm=[0, 2, 3, 1])
    g("Relu")
    g("Pad", np.array([0, 0, 1, 0, 0, 0, 0, 0]))
    g("Flatten")
    g("Gemm", weights(36, 3))


@net((3, 3, 2))
def channels_last_dense(g):
    """No convolution reads the image: it is taken as declared."""
    g("Transpose", perm=[0, 3, 1, 2])
    g("Flatten")
    g("Gemm", weights(18, 3))


@net((2, 3, 3), opset=12)
def bystanders(g):
    """Identity, Dropout in all forms, Constant, Cast; a dead end is ignored."""
    g("Identity")
    x = g("Identity")
    k = g("Constant", value=numpy_helper.from_array(np.float32([0.5])), at="x")
    g.nodes[-1].ClearField("input")
    g("Mul", k, at=x)
    conv(g, 3, 2, 2, 2)
    y = g("Relu")
    g("Softmax")  # not read
    training = helper.make_tensor("training", TensorProto.BOOL, [], [False])
    g("Dropout", np.float32(0.5), training, at=y)
    g("Cast", to=TensorProto.FLOAT)
    dense(g, 3, 12)


# Pools and padding nodes.


@net((2, 8, 8), opset=9)
def pools(g):
    g("Pad", pads=[0, 0, 0, 0, 0, 0, 0, 0], value=0.0, mode="constant")
    conv(g, 3, 2, 3, 3, pads=[1, 1, 1, 1])
    g("Relu")
    g("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    conv(g, 3, 3, 2, 2)
    g("Relu")
    g("Pad", pads=[0, 0, 1, 0, 0, 0, 0, 2], mode="constant")
    g("AveragePool", kernel_shape=[2, 2], strides=[2, 1])
    conv(g, 3, 3, 1, 1)
    g("Relu")
    g("GlobalAveragePool")
    dense(g, 2, 3)


@net((2, 5, 5))
def pads(g):
    g("Pad", np.array([0, 0, 1, 2, 0, 0, 0, 1]), np.float32(0))
    g("Mul", np.float32(2))
    conv(g, 3, 2, 3, 3, pads=[1, 0, 0, 1])
    x = g("Relu")
    g("Add", np.float32(0.5))
    g("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]))  # zeros around what was shifted
    conv(g, 3, 3, 3, 3)
    g("Pad", np.array([0, 0, 0, 0, 0, 0, 0, 1]))
    g("Relu")  # carried out by a layer of its own
    g("ReduceMean", axes=[2, 3])
    dense(g, 3, 3)


@net((2, 4, 4), opset=18)
def newer_forms(g):
    g("Pad", np.array([1, 1]), np.float32(0), np.array([2]))
    conv(g, 3, 2, 3, 3)
    g("Relu")
    g("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    g("ReduceMean", np.array([-1, -2]), keepdims=0)
    g("Gemm", weights(3, 2))


# Tensors.


@net((2, 3, 3), ir=3, opset=8, inputs_too=True, batch=1)
def typed_tensors(g):
    """float_data and int64_data; initializers listed as inputs."""
    w, b = weights(3, 2, 2, 2), weights(3)
    tw = helper.make_tensor("w", TensorProto.FLOAT, w.shape, w.ravel().tolist())
    tb = helper.make_tensor("b", TensorProto.FLOAT, b.shape, b.tolist())
    g("Conv", tw, tb)
    g("Relu")
    g("Reshape", helper.make_tensor("s", TensorProto.INT64, [2], [1, -1]))
    g("Gemm", weights(12, 2), weights(2))


@net((2, 3, 3))
def halves(g):
    """float16 tensors cast to float, as raw data and in int32_data."""
    x = g.last
    w = g.const(weights(3, 2, 2, 2).astype(np.float16))
    wf = g("Cast", at=w, to=TensorProto.FLOAT)
    b = g.const(helper.make_tensor("hb", TensorProto.FLOAT16, [3], [0.1, -1e-7, 65504.0]))
    bf = g("Cast", at=b, to=TensorProto.FLOAT)
    g("Conv", wf, bf, at=x)


@net((5,), dtype=TensorProto.DOUBLE)
def doubles(g):
    g("MatMul", np.array(weights(5, 4), np.float64) + 1e-10)
    g("Add", weights(4).astype(np.float64))
    g("Relu")


@net((2, 4, 4), dtype=TensorProto.FLOAT16)
def half_precision(g):
    g("Conv", weights(3, 2, 3, 3).astype(np.float16), weights(3).astype(np.float16))
    g("Relu")
    g("Flatten")
    g("Gemm", weights(12, 2).astype(np.float16))


# What is refused.


@net((2, 6, 6))
def max_pool(g):
    conv(g, 2, 2, 2, 2)
    g("MaxPool", kernel_shape=[2, 2])


@refused("Relu_4", "Softmax_3", "as the last node alone")
def softmax(g):
    dense(g, 3, 72)
    g("Softmax")
    g("Relu")


@net((2, 6, 6))
def sigmoid(g):
    g("Sigmoid")


@net((2, 6, 6))
def leaky(g):
    g("LeakyRelu", alpha=0.1)


@net((2, 6, 6))
def concat(g):
    a = conv(g, 2, 2, 1, 1)
    b = conv(g, 2, 2, 1, 1)
    g("Concat", a, axis=1)


@net((2, 6, 6))
def dilated(g):
    conv(g, 2, 2, 2, 2, dilations=[2, 2])


@net((2, 6, 6))
def grouped(g):
    g("Conv", weights(2, 1, 2, 2), group=2)


@refused("Gemm", "transA")
def trans_a(g):
    g("Flatten")
    g("Gemm", weights(1, 3), transA=1)


@net((2, 6, 6))
def border_average(g):
    g("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])


@refused("AveragePool_1", "ceil_mode")
def ceil(g):
    g("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


@refused("Pad_1", "value", "got 1, expected 0")
def pad_ones(g):
    g("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(1))
    conv(g, 2, 2, 2, 2)


@refused("Pad_1", "mode", "reflect")
def pad_reflect(g):
    g("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")
    conv(g, 2, 2, 2, 2)


@refused("Pad_1", "axis 1")
def pad_channels(g):
    g("Pad", np.array([0, 1, 0, 1, 0, 0, 0, 0]))
    conv(g, 2, 3, 2, 2)


@refused("input \"x\"", "dimension 2", dims=(2, "H", 6))
def symbolic_height(g):
    conv(g, 2, 2, 2, 2)


@refused("opset_import", "version 6", opset=6)
def old_opset(g):
    conv(g, 2, 2, 2, 2)


@refused("Conv_1", "domain", "com.example")
def foreign_domain(g):
    conv(g, 2, 2, 2, 2)
    g.nodes[-1].domain = "com.example"


@refused("tensor \"c0\"", "NaN", "element 5")
def nan_weight(g):
    w = weights(2, 2, 2, 2)
    w.ravel()[5] = np.nan
    g("Conv", w)


@refused("tensor \"c0\"", "1e+39", "element 0", dims=(2,), dtype=TensorProto.DOUBLE)
def large_double(g):
    g("MatMul", np.array([[1e39], [0]]))


@refused("tensor \"w\"", "external data")
def external(g):
    t = numpy_helper.from_array(weights(2, 2, 2, 2), "w")
    t.ClearField("raw_data")
    t.data_location = TensorProto.EXTERNAL
    e = t.external_data.add()
    e.key, e.value = "location", "w.bin"
    g("Conv", t)


@refused("tensor \"w\"", "4 bytes", "expected 64")
def short_data(g):
    t = numpy_helper.from_array(weights(2, 2, 2, 2), "w")
    t.raw_data = t.raw_data[:4]
    g("Conv", t)


@refused("Mul_3", "two values")
def product(g):
    a = conv(g, 2, 2, 1, 1)
    b = conv(g, 2, 2, 1, 1)
    g("Mul", a)


@refused("Add_1", "dimensions [3 1 1]")
def wrong_bias(g):
    g("Add", weights(3, 1, 1))
    conv(g, 2, 2, 1, 1)


@refused("Add_3", "different orders", dims=(2, 6, 6))
def crossed_branches(g):
    x = conv(g, 2, 2, 1, 1)
    g("Transpose", perm=[0, 1, 3, 2])
    g("Add", x)


@refused("Reshape_2", "[4 -1 9]")
def reshape_batch(g):
    conv(g, 2, 2, 1, 1)
    g("Reshape", np.array([4, -1, 9]))


@refused("Conv_3", "[N 4 6 3]", "in another order")
def reshaped_image(g):
    conv(g, 2, 2, 1, 1)
    g("Reshape", np.array([0, 4, 6, 3]))
    conv(g, 2, 4, 1, 1)


@refused("nothing before defines")
def unsorted(g):
    conv(g, 2, 2, 1, 1)
    g("Relu")
    g.nodes.reverse()


@refused("2 inputs")
def two_inputs(g):
    conv(g, 2, 2, 1, 1)
    g("Add", "x2")
    m = onnx.load_from_string(g.model())
    m.graph.input.append(helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["N", 2, 6, 6]))
    return m.SerializeToString()


@refused("Relu_2", "attribute \"alpha\"")
def unknown_attribute(g):
    conv(g, 2, 2, 1, 1)
    g("Relu", alpha=0.5)


@refused("BatchNormalization", "training_mode", opset=14)
def training(g):
    conv(g, 2, 2, 1, 1)
    batch_norm(g, 2, training_mode=1)


# As newer exporters write things.


@net((2, 4, 4))
def relu_forms(g):
    """max(x, 0) and clips from below alone."""
    conv(g, 3, 2, 3, 3, pads=[1, 1, 1, 1])
    g("Max", np.float32(0))
    conv(g, 3, 3, 2, 2)
    x = g.last
    zero = g.const(np.zeros((1, 3, 1, 1), np.float32))
    g("Max", x, at=zero)
    conv(g, 3, 3, 2, 2)
    g("Clip", np.float32(0))
    dense(g, 4, 12)
    g("Clip", np.float32(0), np.float32(np.finfo(np.float32).max))
    g("Gemm", weights(4, 3))


@net((2, 4, 4), opset=10)
def clip_attributes(g):
    conv(g, 3, 2, 3, 3)
    g("Clip", min=0.0)
    dense(g, 2, 12)


@net((3, 4, 5), opset=14)
def reductions(g):
    """One side after the other, sums, the only element, allowzero without a 0."""
    conv(g, 4, 3, 1, 1)
    g("Relu")
    x = g("ReduceSum", np.array([3]), keepdims=1)
    g("Gather", np.array(0), axis=-1)
    g("ReduceMean", axes=[2], keepdims=1)
    a = g("Gather", np.array([-1]), axis=2)
    g("ReduceMean", axes=[2], keepdims=0, at=x)
    g("Gather", np.array(0), axis=2)
    g("Unsqueeze", np.array([2]))
    g("Add", a)
    g("Reshape", np.array([-1, 4]), allowzero=1)
    g("Gemm", weights(4, 3))


@net((2, 6, 6))
def relu6(g):
    g("Clip", np.float32(0), np.float32(6))


@net((2, 6, 6))
def hard_tanh(g):
    g("Clip", np.float32(-1), np.float32(1))


@net((2, 6, 6))
def maximum(g):
    g("Max", np.float32(0.5))


@refused("Max_1", "dimensions [3 1 1]")
def wide_maximum(g):
    g("Max", np.zeros((3, 1, 1), np.float32))


@refused("Gather_1", "[N 2 6 6]", "axis 2")
def part(g):
    g("Gather", np.array(0), axis=2)


@refused("ReduceSum_1", "[1]")
def channel_sum(g):
    g("ReduceSum", np.array([1]))


@refused("Reshape_1", "[0 -1]", "allowzero", opset=14)
def allow_zero(g):
    g("Reshape", np.array([0, -1]), allowzero=1)


@refused("RandomUniformLike_2", "model.eval()", opset=18)
def drop_images(g):
    """As PyTorch writes Dropout2d in training."""
    x = conv(g, 2, 2, 1, 1)
    g("RandomUniformLike", at="x", dtype=TensorProto.FLOAT)
    g("Add", x)


@refused("Expand_1", "constants alone", "optimize=True")
def unfolded(g):
    w = g("Expand", np.array([2, 2, 1, 1]), at=g.const(weights(1, 2, 1, 1)))
    g("Conv", w, at="x")


# Pools, activations, groups, dilation, concatenations and batch norms that stay.


@net((3, 9, 8))
def max_pools(g):
    g("MaxPool", kernel_shape=[3, 2], pads=[1, 0, 1, 0])
    conv(g, 4, 3, 3, 3)
    g("Relu")
    g("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")  # zeros below
    conv(g, 4, 4, 1, 1)
    g("MaxPool", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 0])  # which no window reaches
    g("Mul", weights(4, 1, 1))
    g("MaxPool", kernel_shape=[2, 1], ceil_mode=1, storage_order=0)
    dense(g, 3, 4)


@net((2, 9))
def max_pool_1d(g):
    conv(g, 3, 2, 3)
    g("MaxPool", kernel_shape=[3], strides=[2], pads=[1, 1])
    dense(g, 4, 12)


@net((3, 8, 7))
def average_pools(g):
    g("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 1, 1], strides=[1, 2])
    conv(g, 4, 3, 3, 2)
    g("Relu")
    g("Mul", weights(4, 1, 1))  # through the average
    g("Add", weights(4, 1, 1))
    g("AveragePool", kernel_shape=[2, 2], pads=[1, 0, 1, 0])
    conv(g, 4, 4, 1, 1)
    g("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 0, 1], count_include_pad=1)  # a convolution
    g("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    g("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    g("GlobalAveragePool")
    dense(g, 3, 4)


@net((3, 5, 5), opset=12)
def activations(g):
    conv(g, 4, 3, 3, 3, pads=[1, 1, 1, 1])
    g("PRelu", weights(4, 1, 1))
    conv(g, 4, 4, 3, 3)
    g("Tanh")
    g("PRelu", weights(1))
    g("LeakyRelu")
    conv(g, 3, 4, 1, 1)
    g("Clip", np.float32(-np.inf), np.float32(0.25))
    g("Min", np.full((3, 1, 1), 0.125, np.float32))
    g("Clip", "", np.float32(np.inf))
    g("Relu")
    g("Max", np.float32(0.0625))
    dense(g, 4, 27)
    g("PRelu", weights(4))
    g("Sigmoid")


@net((4, 9, 9))
def groups(g):
    g("Mul", weights(4, 1, 1))
    g("Conv", weights(8, 1, 3, 3), weights(8), group=4, dilations=[2, 1])  # takes in the constants
    batch_norm(g, 8)
    g("Relu")
    g("Conv", weights(6, 4, 3, 2), group=2, dilations=[2, 3], pads=[1, 0, 0, 2])  # becomes dense
    g("Clip", np.float32(0), np.float32(6))
    g("Conv", weights(6, 1, 3, 3), weights(6), group=6, pads=[1, 1, 1, 1], strides=[2, 1])
    g("Conv", weights(6, 6, 1, 1), dilations=[3, 3])
    g("Conv", weights(6, 6, 2, 2), auto_pad="SAME_UPPER")
    g("Flatten")


@net((4, 12))
def dilated_1d(g):
    g("Conv", weights(4, 2, 3), weights(4), group=2, dilations=[3], pads=[2, 2])
    dense(g, 3, 40)


@net((2, 6, 5))
def concats(g):
    x = conv(g, 3, 2, 3, 3, pads=[1, 1, 1, 1])
    a = g("Relu")
    b = g("Tanh", at=x)
    g("Concat", a, "x", b, axis=1)  # b, a, x, b
    g("BatchNormalization", weights(11), weights(11), weights(11), np.abs(weights(11)) + np.float32(0.5))
    y = conv(g, 4, 11, 3, 3, pads=[1, 1, 1, 1])
    v = g("Flatten", at=x)
    g("MaxPool", kernel_shape=[2, 2], strides=[2, 2], at=y)
    w = g("Flatten")
    f = g("Gemm", weights(24, 5))
    g("Concat", v, f, axis=-1)  # of images and vectors, in the images' order
    g("Concat", w, axis=1)
    g("Gemm", weights(124, 4))


@net((4, 5, 3), layout="HWC")
def concat_channels_last(g):
    g("Transpose", perm=[0, 3, 1, 2])
    conv(g, 2, 3, 3, 3, pads=[1, 1, 1, 1])
    a = g("Transpose", perm=[0, 2, 3, 1])
    g("Sigmoid")
    g("Concat", a, axis=3)
    b = g("Concat", a, axis=-1)
    g("ReduceMean", axes=[1, 2], keepdims=0, at=b)
    c = g.last
    g("Concat", a, axis=2, at=a)  # side by side
    g("Reshape", np.array([-1, 80]))
    g("Concat", c, axis=1)
    g("MatMul", weights(86, 3))


@net((3, 6, 6))
def batch_norm_kept(g):
    batch_norm(g, 3)
    conv(g, 4, 3, 3, 3, pads=[1, 1, 1, 1])
    a = g("Relu")
    batch_norm(g, 4)
    g("Relu")
    g("Conv", weights(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1])
    g("Add", a)
    batch_norm(g, 4)
    g("GlobalAveragePool")
    g("Flatten")
    g("Gemm", weights(4, 5))
    g("Tanh")
    batch_norm(g, 5)


@net((2, 4, 4))
def relu_anywhere(g):
    a = g("Relu")
    g("Sub", np.float32(0.5), at="x")
    b = g("Relu")
    g("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1)
    g("Relu")
    g("Add", a)
    g("Add", b)
    g("Relu")


@net((2, 4, 4), opset=11)
def softmax_identity(g):
    """What a softmax of one output is, whatever comes before it."""
    dense(g, 1, 32)
    g("Mul", np.float32(0))
    g("Add", np.float32(1))
    g("Softmax")


@refused("MaxPool_1", "dilations", "[2 2]")
def dilated_pool(g):
    g("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])


@refused("MaxPool_1", "pads", "[0 0 1 1]", "may be negative")
def uneven_pool(g):
    g("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])


@refused("MaxPool_1", "ceil_mode")
def ceil_pool(g):
    g("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


@refused("AveragePool_1", "count_include_pad", "[0 0 1 1]")
def uneven_average(g):
    g("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])


@refused("PRelu_1", "differ within a channel")
def slopes(g):
    g("PRelu", weights(2, 6, 6))


@refused("Clip_1", "bounds 1 and 0.5")
def crossed_bounds(g):
    g("Clip", np.float32(1), np.float32(0.5))


@refused("Softmax_1", "axis", "[N 2 6 6]", "all outputs")
def softmax_of_pixels(g):
    g("Softmax", axis=1)


@refused("Concat_1", "axis", "the batch's")
def stacked(g):
    g("Concat", "x", axis=0)


@refused("Max_3", "input 1")
def maximum_of_two(g):
    a = conv(g, 2, 2, 1, 1)
    g("Sigmoid")
    g("Max", a)


@refused("Min_1", "bounds that differ")
def bounds(g):
    g("Min", np.array([0.5, 0.25], np.float32).reshape(2, 1, 1))


@refused("Conv_1", "group", "divisor of the 2 channels")
def odd_groups(g):
    g("Conv", weights(3, 1, 2, 2), group=3)


@net((3, 4, 5))
def largest(g):
    conv(g, 4, 3, 2, 2)
    a = g("GlobalMaxPool")
    b = g("Tanh", at="v1")
    g("ReduceMax", axes=[3], keepdims=1)
    g("ReduceMax", axes=[-2], keepdims=1)
    g("Add", a)
    c = g("Flatten")
    g("Transpose", perm=[0, 2, 3, 1], at=b)
    g("ReduceMax", axes=[1, 2], keepdims=0)
    g("Concat", c, axis=1)
    g("Gemm", weights(8, 3))


# Networks exported by PyTorch.


class Block(nn.Module):
    def __init__(self, cin, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1)
        self.blocks = nn.Sequential(Block(4, 4, 1), Block(4, 6, 2))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = (x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
        x = self.blocks(torch.relu(self.stem(x)))
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.fc(x.view(x.size(0), -1))


def randomize(m):
    for module in m.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return m.eval()


def torch_net(name, m, dims, opset=None, dynamic=False, keep_bn=False, dynamo=False, batch=1):
    """opset None: the exporter's default."""
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d) / f"{name}.onnx"
        options = {"opset_version": opset} if opset else {}
        if dynamic and dynamo:
            options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
        elif dynamic:
            options["dynamic_axes"] = {"x": {0: "batch"}}
        if keep_bn:
            options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
        if not dynamo:
            options |= {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(randomize(m), torch.rand(batch, *dims), str(path), dynamo=dynamo, **options)
        data = pathlib.Path(f"{path}.data")
        if data.exists():
            DATA[data.name] = data.read_bytes()
        NETS[name] = (without_traces(path.read_bytes()) if dynamo else path.read_bytes(), list(dims), "", None)


def without_traces(model):
    """Without most of what the exporter notes at each node: stack traces name files of
    this machine."""
    m = onnx.load_from_string(model)
    for n in m.graph.node:
        kept = [p for p in n.metadata_props if p.key.endswith("name_scopes")]
        n.ClearField("metadata_props")
        n.metadata_props.extend(kept)
    return m.SerializeToString()


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 2)
        self.fc1, self.fc2 = nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, x):
        x = nn.functional.avg_pool2d(torch.relu(self.conv1(x)), 2)
        x = nn.functional.avg_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class Normalized(nn.Module):
    """Mean and deviation as buffers; batch norm everywhere."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1))
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), Block(8, 8, 1), nn.Dropout2d(), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Sequential(nn.Linear(32, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.body((x - self.mean) / self.std)
        return self.head(x.reshape(-1, 32))


class Pieces(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 8, 3, padding="same"), nn.Conv2d(8, 8, 2, padding="same"), nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, 5, bias=False)

    def forward(self, x):
        x = torch.maximum(self.a(2 * x - 1), torch.zeros(()))
        y = (self.b(x) - 0.5 * self.c(x)).clamp(min=0)
        y = y.mean((2, 3)) + x.sum((2, 3)) + y.mean(3).mean(2)
        return self.fc(y) + self.fc(nn.functional.adaptive_avg_pool2d(x, 1)[:, :, 0, 0])


def torch_nets():
    torch.manual_seed(3)
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(18, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    torch_net("torch_mlp", mlp, (2, 3, 3), 9)
    cnn = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2, 1, 1),
        nn.Conv2d(4, 3, 2, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(75, 3))
    torch_net("torch_cnn", cnn, (2, 8, 8), 13, keep_bn=True)
    torch_net("torch_resnet", ResNet(), (3, 8, 8), 17, dynamic=True)
    torch_net("torch_resnet_bn", ResNet(), (3, 8, 8), 11, dynamic=True, keep_bn=True)
    # Both exporters, as they are by default: the newer one puts larger weights beside the file.
    for name, m, dims, options in (
        ("mlp", nn.Sequential(nn.Flatten(), nn.Linear(18, 16), nn.ReLU(), nn.Linear(16, 3)), (2, 3, 3), {}),
        ("lenet", LeNet(), (3, 8, 8), {}),
        ("lenet_batch", LeNet(), (3, 8, 8), {"batch": 4}),
        ("lenet_dynamic", LeNet(), (3, 8, 8), {"dynamic": True, "batch": 2}),
        ("normalized", Normalized(), (3, 8, 8), {"dynamic": True, "batch": 2}),
        ("pieces", Pieces(), (2, 6, 6), {}),
    ):
        torch_net(f"torch_dynamo_{name}", m, dims, dynamo=True, **options)
        if "batch" not in options or name == "normalized":
            torch_net(f"torch_script_{name}", m, dims, **options)


# Exports of epsball.


def epsball(*args):
    r = subprocess.run(["go", "run", "./cmd/epsball", *args, "--json"], cwd=HERE.parent.parent, capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"epsball {' '.join(map(str, args))}: {r.stderr}")
    return json.loads(r.stdout)


def exports(nets, folder):
    """Every network that was read is written again by epsball; ONNX Runtime must
    compute the same with it."""
    worst = 0
    with tempfile.TemporaryDirectory() as d:
        for name, want in nets.items():
            source = OUT / f"{name}.onnx"
            if not source.exists():
                source = next(folder.glob(f"*/onnx/{name}.onnx.gz"))
            path = pathlib.Path(d) / "e.onnx"
            info = epsball("export", source, "--out", path, "--force")
            onnx.checker.check_model(onnx.load(path), full_check=True)
            shape = [int(s) for s in info["input"].split("x")]
            for k in range(IMAGES):
                x = pixels(k, want["input"])
                if want["layout"] == "HWC":
                    x = x.transpose(2, 0, 1)
                y = run(path.read_bytes(), np.ascontiguousarray(x).reshape(1, *shape))[0].astype(np.float64)
                z = np.array(want["outputs"][k])
                error = np.abs(y - z).max() / max(1, np.abs(z).max())
                if not error <= want.get("tolerance", 2e-6):
                    raise SystemExit(f"{name}: ONNX Runtime computes {y} with epsball's export, {z} with the original")
                worst = max(worst, error if "tolerance" not in want else 0)
        print("exports of all networks: largest relative difference", worst)
        built_in = {}
        for model in epsball("info")["models"]:
            path = pathlib.Path(d) / "b.onnx"
            info = epsball("export", "builtin:" + model["name"], "--out", path, "--force")
            onnx.checker.check_model(onnx.load(path), full_check=True)
            data = path.read_bytes()
            shape = [int(s) for s in info["input"].split("x")]
            built_in[model["name"]] = {"sha256": hashlib.sha256(data).hexdigest(), "outputs": outputs(data, shape)}
        return built_in


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent.parent.parent / "shared/data/vnncomp")
    torch_nets()
    (OUT / "refused").mkdir(parents=True, exist_ok=True)
    for old in (*OUT.rglob("*.onnx"), *OUT.rglob("*.onnx.data")):
        old.unlink()
    nets = {}
    for name, data in DATA.items():
        (OUT / name).write_bytes(data)
    for name, (data, dims, layout, g) in NETS.items():
        path = OUT / f"{name}.onnx"
        path.write_bytes(data)
        batch, dtype = 1, np.float32
        if g is None:
            first = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
            batch = first.dim_value or 1
        else:
            batch = g.batch if g.batch is None or isinstance(g.batch, int) else 1
            dtype = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16}[g.dtype]
        nets[name] = {"input": dims, "layout": layout, "outputs": outputs(path, dims, batch, dtype)}
        if dtype == np.float16:  # ONNX Runtime rounds every result to it
            nets[name]["tolerance"] = 5e-3
    for path in sorted(folder.glob("*/onnx/*.onnx.gz")):
        data = gzip.decompress(path.read_bytes())
        m = onnx.load_from_string(data)
        inits = {t.name for t in m.graph.initializer}
        (x,) = [v for v in m.graph.input if v.name not in inits]
        dims = [d.dim_value for d in x.type.tensor_type.shape.dim][1:]
        layout = "HWC" if m.graph.node[0].op_type == "Transpose" else ""
        nets[path.name.removesuffix(".onnx.gz")] = {"input": dims, "layout": layout, "outputs": outputs(data, dims)}
    for name, (data, _) in REFUSED.items():
        (OUT / "refused" / f"{name}.onnx").write_bytes(data)
    golden = {"nets": nets, "refused": {n: list(words) for n, (_, words) in REFUSED.items()}}
    golden["exports"] = exports(nets, folder)
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


main()
