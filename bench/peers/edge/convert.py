"""Converts an ONNX file that epsball wrote for ncnn and TensorFlow Lite, weight
for weight: these have no converter of ONNX in their packages.

    convert.py NET.onnx FOLDER    writes net.param, net.bin and net.tflite

Prints one JSON object: format -> "" or why it could not be written, which begins
with "absent: " if a package is missing.
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np


@dataclasses.dataclass
class Op:
    """A step of the network. Shapes are without the batch, channels first."""
    kind: str  # conv, fc, add, relu, scale or flatten
    inputs: list
    output: str
    shape: tuple
    w: np.ndarray = None  # conv: out, in, rows, columns; fc: out, in; scale: factors of the channels
    b: np.ndarray = None
    stride: tuple = (1, 1)
    pad: tuple = (0, 0)
    relu: bool = False


def read(path):
    """The steps of the network, each ReLU fused with what it follows if nothing
    else reads that, and the shapes of all values. The input is called input, the
    output logits."""
    import onnx
    from onnx import numpy_helper
    graph = onnx.load(path).graph
    const = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    shapes = {graph.input[0].name: tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:])}
    readers = {}
    for n in graph.node:
        for i in n.input:
            readers[i] = readers.get(i, 0) + 1
    ops, alias = [], {}
    for n in graph.node:
        a = {x.name: onnx.helper.get_attribute_value(x) for x in n.attribute}
        ins, out = [alias.get(i, i) for i in n.input], n.output[0]
        shape = shapes[ins[0]]
        if n.op_type == "Conv":
            w = const[ins[1]]
            pad, stride = tuple(a["pads"][:2]), tuple(a["strides"])
            shape = (w.shape[0], *((shape[1 + i] + 2 * pad[i] - w.shape[2 + i]) // stride[i] + 1 for i in (0, 1)))
            ops.append(Op("conv", ins[:1], out, shape, w, const[ins[2]], stride, pad))
        elif n.op_type == "Gemm":
            ops.append(Op("fc", ins[:1], out, (len(const[ins[1]]),), const[ins[1]], const[ins[2]]))
        elif n.op_type == "Add":
            ops.append(Op("add", ins, out, shape))
        elif n.op_type == "Sub":  # Div follows: epsball normalizes so
            mean = const[ins[1]].reshape(-1)
            ops.append(Op("scale", ins[:1], out, shape, np.ones_like(mean), -mean))
        elif n.op_type == "Div":
            ops[-1].w, ops[-1].b = ops[-1].w / const[ins[1]].reshape(-1), ops[-1].b / const[ins[1]].reshape(-1)
            ops[-1].output = out
        elif n.op_type == "Relu" and ops and ops[-1].output == ins[0] and readers[n.input[0]] == 1 and ops[-1].kind != "scale":
            ops[-1].relu, ops[-1].output = True, out
        elif n.op_type == "Relu":
            ops.append(Op("relu", ins, out, shape))
        elif n.op_type in ("Flatten", "Reshape"):
            shape = (int(np.prod(shape)),) if n.op_type == "Flatten" else tuple(int(d) for d in const[ins[1]][1:])
            ops.append(Op("flatten", ins[:1], out, shape))
        elif n.op_type == "Identity":
            alias[out] = ins[0]
        else:
            raise ValueError(f"{n.op_type}: unknown operator")
        shapes[out] = shape
    names = {graph.input[0].name: "input", alias.get(graph.output[0].name, graph.output[0].name): "logits"}
    for op in ops:
        op.inputs, op.output = [names.get(i, i) for i in op.inputs], names.get(op.output, op.output)
    return ops, {names.get(k, k): v for k, v in shapes.items()}


# --- ncnn: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure


def ncnn(ops, shapes, folder):
    lines, weights = [], []
    blobs = {"input"}

    def layer(kind, name, inputs, outputs, *params):
        blobs.update(outputs)
        lines.append(" ".join([kind, name, str(len(inputs)), str(len(outputs)), *inputs, *outputs, *params]))

    def bin(array, tagged=False):
        weights.append((b"\0\0\0\0" if tagged else b"") + np.ascontiguousarray(array, "<f4").tobytes())

    # A blob has one reader: others read a copy that a Split layer makes.
    left = {}
    for op in ops:
        for i in op.inputs:
            left[i] = left.get(i, 0) + 1
    copies = {}

    def produced(name):
        if left.get(name, 0) > 1:
            copies[name] = [f"{name}.{k}" for k in range(left[name])]
            layer("Split", f"{name}.split", [name], copies[name])

    layer("Input", "input", [], ["input"])
    produced("input")
    for op in ops:
        ins = [copies[i].pop() if i in copies else i for i in op.inputs]
        act = ["9=1"] if op.relu else []
        if op.kind == "conv":
            o, _, kh, kw = op.w.shape
            layer("Convolution", op.output, ins, [op.output], f"0={o}", f"1={kw}", f"11={kh}", f"3={op.stride[1]}", f"13={op.stride[0]}",
                  f"4={op.pad[1]}", f"14={op.pad[0]}", "5=1", f"6={op.w.size}", *act)
            bin(op.w, tagged=True)
            bin(op.b)
        elif op.kind == "fc":
            layer("InnerProduct", op.output, ins, [op.output], f"0={len(op.w)}", "1=1", f"2={op.w.size}", *act)
            bin(op.w, tagged=True)
            bin(op.b)
        elif op.kind == "scale":
            layer("Scale", op.output, ins, [op.output], f"0={op.w.size}", "1=1")
            bin(op.w)
            bin(op.b)
        elif op.kind == "add":
            sum_ = f"{op.output}.sum" if op.relu else op.output
            layer("BinaryOp", sum_, ins, [sum_], "0=0")
            if op.relu:
                layer("ReLU", op.output, [sum_], [op.output])
        elif op.kind == "relu":
            layer("ReLU", op.output, ins, [op.output])
        elif len(op.shape) == 1:
            layer("Flatten", op.output, ins, [op.output])
        else:
            c, h, w = op.shape
            layer("Reshape", op.output, ins, [op.output], f"0={w}", f"1={h}", f"2={c}")
        produced(op.output)
    (folder / "net.param").write_text(f"7767517\n{len(lines)} {len(blobs)}\n" + "\n".join(lines) + "\n")
    (folder / "net.bin").write_bytes(b"".join(weights))


# --- TensorFlow Lite: tensorflow/compiler/mlir/lite/schema/schema.fbs


def tflite(ops, shapes, folder):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as s

    sub, model = s.SubGraphT(), s.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [s.BufferT()], []
    sub.name, sub.tensors, sub.operators = "net", [], []
    codes, index = {}, {}

    def tensor(name, shape, array=None):
        t = s.TensorT()
        t.name, t.shape, t.type = name, list(shape), s.TensorType.FLOAT32
        if array is not None:
            t.type = s.TensorType.INT32 if array.dtype == np.int32 else s.TensorType.FLOAT32
            b = s.BufferT()
            b.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            model.buffers.append(b)
            t.buffer = len(model.buffers) - 1
        sub.tensors.append(t)
        return len(sub.tensors) - 1

    def const(name, array):
        return tensor(name, array.shape, array)

    def value(name, shape):  # channels last
        index[name] = tensor(name, (1, shape[1], shape[2], shape[0]) if len(shape) == 3 else (1, *shape))
        return index[name]

    def operator(kind, inputs, outputs, options=None):
        code = getattr(s.BuiltinOperator, kind)
        if kind not in codes:
            c = s.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
            model.operatorCodes.append(c)
            codes[kind] = len(model.operatorCodes) - 1
        o = s.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = codes[kind], inputs, outputs
        if options is not None:
            o.builtinOptions = options
            o.builtinOptionsType = getattr(s.BuiltinOptions, type(options).__name__.removesuffix("T"))
        sub.operators.append(o)

    def activation(options, op):
        options.fusedActivationFunction = (
            s.ActivationFunctionType.RELU if op.relu else s.ActivationFunctionType.NONE)
        return options

    value("input", shapes["input"])
    last_first = {}  # vectors that are channels-last images: name -> shape of the image
    for op in ops:
        ins, shape = [index[i] for i in op.inputs], shapes[op.inputs[0]]
        if op.kind == "conv":
            w = const(f"{op.output}.w", op.w.transpose(0, 2, 3, 1))
            o = activation(s.Conv2DOptionsT(), op)
            o.strideH, o.strideW = op.stride
            o.dilationHFactor = o.dilationWFactor = 1
            o.padding = s.Padding.VALID
            if any(op.pad):
                if same(op, shape):
                    o.padding = s.Padding.SAME
                else:
                    ph, pw = op.pad
                    padded = value(f"{op.output}.padded", (shape[0], shape[1] + 2 * ph, shape[2] + 2 * pw))
                    pads = const(f"{op.output}.pads", np.array([[0, 0], [ph, ph], [pw, pw], [0, 0]], np.int32))
                    operator("PAD", [ins[0], pads], [padded], s.PadOptionsT())
                    ins = [padded]
            operator("CONV_2D", [ins[0], w, const(f"{op.output}.b", op.b)], [value(op.output, op.shape)], o)
        elif op.kind == "fc":
            w = op.w
            if op.inputs[0] in last_first:
                c, h, v = last_first[op.inputs[0]]
                w = w.reshape(-1, c, h, v).transpose(0, 2, 3, 1).reshape(len(w), -1)
            elif len(shape) == 3:
                raise ValueError("fc: want a vector")
            o = activation(s.FullyConnectedOptionsT(), op)
            operator("FULLY_CONNECTED", [ins[0], const(f"{op.output}.w", w), const(f"{op.output}.b", op.b)], [value(op.output, op.shape)], o)
        elif op.kind == "add":
            operator("ADD", ins, [value(op.output, op.shape)], activation(s.AddOptionsT(), op))
        elif op.kind == "scale":
            mid = value(f"{op.output}.mul", op.shape)
            operator("MUL", [ins[0], const(f"{op.output}.w", op.w)], [mid], s.MulOptionsT())
            operator("ADD", [mid, const(f"{op.output}.b", op.b)], [value(op.output, op.shape)], activation(s.AddOptionsT(), op))
        elif op.kind == "relu":
            if op.inputs[0] in last_first:
                last_first[op.output] = last_first[op.inputs[0]]
            operator("RELU", ins, [value(op.output, op.shape)])
        elif len(op.shape) == 1:
            last_first[op.output] = shape
            o = s.ReshapeOptionsT()
            o.newShape = [1, *op.shape]
            operator("RESHAPE", [ins[0], const(f"{op.output}.shape", np.array([1, *op.shape], np.int32))], [value(op.output, op.shape)], o)
        else:
            raise ValueError("vectors that become images again: not converted")
    if len(shapes["logits"]) == 3 or "logits" in last_first:
        raise ValueError("logits that are an image: not converted")
    sub.inputs, sub.outputs = [index["input"]], [index["logits"]]
    model.subgraphs = [sub]
    b = flatbuffers.Builder(1 << 20)
    b.Finish(model.Pack(b), b"TFL3")
    (folder / "net.tflite").write_bytes(bytes(b.Output()))


def same(op, shape):
    """Is TensorFlow's SAME what the padding comes to?"""
    for i in (0, 1):
        size, k, stride = shape[1 + i], op.w.shape[2 + i], op.stride[i]
        out = -(-size // stride)
        total = max((out - 1) * stride + k - size, 0)
        if out != op.shape[1 + i] or total // 2 != op.pad[i]:
            return False
    return True


def main():
    result, folder = {}, pathlib.Path(sys.argv[2])
    for name, convert in (("ncnn", ncnn), ("tflite", tflite)):
        try:
            convert(*read(sys.argv[1]), folder)
            result[name] = ""
        except ImportError as e:  # the runtime is not installed, or what writes its format
            result[name] = f"absent: {type(e).__name__}: {e}".splitlines()[0]
        except Exception as e:  # an unknown operator
            result[name] = f"{type(e).__name__}: {e}".splitlines()[0]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
