"""Hand-made ONNX graphs: what ONNX Runtime can do at best, well beyond what its
users write. Batch sizes are fixed, weights are constants.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32 = np.float32


class Graph:
    def __init__(self):
        self.nodes, self.constants, self.inputs, self.count = [], [], [], 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def input(self, name, shape):
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def const(self, array):
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind, *inputs, **attributes):
        name = self.name()
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def bytes(self, **outputs):
        """The model; outputs are name = (value, shape)."""
        for name, (value, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name]))
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, (_, s) in outputs.items()]
        graph = helper.make_graph(self.nodes, "peer", self.inputs, infos, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def affine(self, layer, v, w, b=None):
        """Layer's convolution or product with weights w; b may be None."""
        extra = [] if b is None else [self.const(b)]
        if layer.kind == "conv":
            return self.op("Conv", v, self.const(w), *extra, strides=layer.stride, pads=layer.pad * 2)
        return self.op("Gemm", v, self.const(w), *extra, transB=1)

    def flatten(self, v):
        return self.op("Flatten", v, axis=1)


def run_forward(g, net, x, batch):
    """Returns the logits, and per layer its input's shape and its output after
    ReLU."""
    v, shape, trace = x, net.input, []
    for l in net.layers:
        if l.kind == "fc" and len(shape) == 3:
            v = g.flatten(v)
        v = g.affine(l, v, l.w, l.b)
        if l.relu:
            v = g.op("Relu", v)
        trace.append((shape, v))
        shape = out_shape(l, shape)
    return v, trace


def out_shape(l, shape):
    if l.kind == "fc":
        return (l.w.shape[0],)
    size = [(shape[1 + i] + 2 * l.pad[i] - l.w.shape[2 + i]) // l.stride[i] + 1 for i in (0, 1)]
    return (l.w.shape[0], *size)


def forward(net, batch):
    g = Graph()
    z, _ = run_forward(g, net, g.input("x", (batch, *net.input)), batch)
    return g.bytes(z=(z, (batch, net.layers[-1].w.shape[0])))


def pgd_step(net, batch, alpha, adjoint):
    """x, the ball's box [lo, hi] and one-hot labels in, the next x out. The
    loss is the summed cross-entropy, as only the gradient's sign counts.
    adjoint is transposed_conv or flipped_conv."""
    g = Graph()
    shape = (batch, *net.input)
    x, lo, hi = (g.input(n, shape) for n in ("x", "lo", "hi"))
    onehot = g.input("onehot", (batch, net.layers[-1].w.shape[0]))
    z, trace = run_forward(g, net, x, batch)
    d = g.op("Sub", g.op("Softmax", z, axis=1), onehot)
    for i in reversed(range(len(net.layers))):
        l, (inp, _) = net.layers[i], trace[i]
        if l.kind == "conv":
            d = adjoint(g, d, l, inp)
        else:
            d = g.op("MatMul", d, g.const(l.w))
            if len(inp) == 3:
                d = g.op("Reshape", d, g.const(np.array((batch, *inp), np.int64)))
        if i > 0 and net.layers[i - 1].relu:
            a = trace[i - 1][1]
            d = g.op("Mul", d, g.op("Sign", a))  # a ≥ 0, so the sign is 0 or 1
    step = g.op("Mul", g.op("Sign", d), g.const(np.array(alpha, F32)))
    x = g.op("Min", g.op("Max", g.op("Add", x, step), lo), hi)
    return g.bytes(next=(x, shape))


def transposed_conv(g, d, l, inp):
    """The gradient to a convolution's input as ONNX has it."""
    out = out_shape(l, inp)
    spare = [inp[1 + i] + 2 * l.pad[i] - l.w.shape[2 + i] - (out[1 + i] - 1) * l.stride[i] for i in (0, 1)]
    return g.op("ConvTranspose", d, g.const(l.w), strides=l.stride, pads=l.pad * 2, output_padding=spare)


def flipped_conv(g, d, l, inp):
    """The same as a convolution with flipped kernels where the stride is 1: ONNX
    Runtime's fast path, which pays from some channels on. (Strided layers as one
    convolution over all stride phases, then DepthToSpace, lost everywhere.)"""
    if l.stride != (1, 1):
        return transposed_conv(g, d, l, inp)
    w = l.w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    pads = [l.w.shape[2 + i] - 1 - l.pad[i] for i in (0, 1)] * 2
    return g.op("Conv", d, g.const(w), pads=pads)


PAIRS = [(i, j) for i in range(10) for j in range(i + 1, 10)]


def ibp(net, batch, eps):
    """Images in, centre and radius of z_i - z_j for all i < j out, the last
    layer merged with these differences. Between layers an interval is carried
    as lower + upper and upper - lower; the halves hide in the weights."""
    g = Graph()
    x, half = g.input("x", (batch, *net.input)), F32(0.5)
    e = g.const(np.array(eps, F32))
    lo = g.op("Max", g.op("Sub", x, e), g.const(np.array(0, F32)))
    hi = g.op("Min", g.op("Add", x, e), g.const(np.array(1, F32)))
    for i, l in enumerate(net.layers):
        c, r = g.op("Add", hi, lo), g.op("Sub", hi, lo)
        if l.kind == "fc" and (i == 0 or net.layers[i - 1].kind == "conv"):
            c, r = g.flatten(c), g.flatten(r)
        w, b = l.w, l.b
        if i == len(net.layers) - 1:
            w = np.stack([w[a] - w[b] for a, b in PAIRS])
            b = np.stack([b[i] - b[j] for i, j in PAIRS])
        c = g.affine(l, c, w * half, b)
        r = g.affine(l, r, np.abs(w) * half)
        lo, hi = g.op("Sub", c, r), g.op("Add", c, r)
        if l.relu:
            lo, hi = g.op("Relu", lo), g.op("Relu", hi)
    shape = (batch, len(PAIRS))
    return g.bytes(c=(c, shape), r=(r, shape))


def margins(c, r, y):
    """The smallest lower bound of z_y - z_j of each image, from ibp's outputs."""
    low = np.full(len(y), np.inf, F32)
    for k, (i, j) in enumerate(PAIRS):
        low = np.where(y == i, np.minimum(low, c[:, k] - r[:, k]), low)
        low = np.where(y == j, np.minimum(low, -c[:, k] - r[:, k]), low)
    return low
