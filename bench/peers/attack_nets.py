"""The networks, images and radii of attacks.py: the built-in models on MNIST, and
networks of others from ../shared/data (VNN-COMP), which a plain checkout lacks.

Every network reaches PyTorch the same way: `epsball export` writes it as ONNX, and
Exported runs that. Its logits are compared with ONNX Runtime's before it is used.
"""

import dataclasses
import gzip
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import nets

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
CIFAR_MEAN, CIFAR_STD = "0.4914,0.4822,0.4465", "0.247,0.2435,0.2616"


@dataclasses.dataclass
class Recipe:
    """How to come by a network. A built-in one needs no source."""
    name: str
    data: str  # mnist or cifar
    eps: dict  # norm -> radius, as epsball reads it
    source: str = ""  # below SHARED/vnncomp
    options: tuple = ()  # of epsball import


MNIST_EPS = {"linf": "0.1", "l2": "1", "l1": "10", "l0": "20"}
SMALL_EPS = {"linf": "0.02", "l2": "0.5", "l1": "5", "l0": "10"}
CIFAR_EPS = {"linf": "2/255", "l2": "0.25", "l1": "4", "l0": "10"}
RECIPES = (
    Recipe("standard", "mnist", MNIST_EPS),
    Recipe("pgd", "mnist", MNIST_EPS),
    Recipe("ibp", "mnist", MNIST_EPS),
    Recipe("resnet2b", "cifar", CIFAR_EPS, "cifar10_resnet_2021/onnx/resnet_2b.onnx.gz",
           ("--mean", CIFAR_MEAN, "--std", CIFAR_STD)),
    Recipe("resnet4b", "cifar", CIFAR_EPS, "cifar10_resnet_2021/onnx/resnet_4b.onnx.gz",
           ("--mean", CIFAR_MEAN, "--std", CIFAR_STD)),
    Recipe("fc256x2", "mnist", SMALL_EPS, "mnist_fc_2022/onnx/mnist-net_256x2.onnx.gz"),
    Recipe("relu9x200", "mnist", SMALL_EPS, "eran_relu_2021/onnx/mnist_relu_9_200.onnx.gz"),
    Recipe("avgpool", "mnist", SMALL_EPS, "verivital_avgpool_2021/onnx/Convnet_avgpool.onnx.gz"),
    Recipe("marabou", "cifar", CIFAR_EPS, "marabou_cifar10_2021/onnx/cifar10_medium.onnx.gz"),
)
BUILTIN = {"standard": "mnist-small-standard", "pgd": "mnist-small-pgd-0.1", "ibp": "mnist-small-ibp-0.1"}


@dataclasses.dataclass
class Subject:
    """A network with its images, as both sides see them."""
    name: str
    model: pathlib.Path  # for epsball
    data: pathlib.Path  # .npz for epsball
    module: torch.nn.Module
    x: torch.Tensor
    y: torch.Tensor
    eps: dict
    correct: torch.Tensor  # bool: classified correctly


class Absent(Exception):
    """The network or its images are not on this machine."""


def prepare(recipe, epsball, folder, n):
    """Makes recipe's network and its first n images ready."""
    model = folder / f"{recipe.name}.safetensors"
    if recipe.source:
        source = SHARED / "vnncomp" / recipe.source
        if not source.exists():
            raise Absent(f"{source.relative_to(ROOT.parent)} is absent")
        run(epsball, "import", source, "--out", model, "--force", *recipe.options)
    else:
        model = ROOT / "zoo" / f"{BUILTIN[recipe.name]}.safetensors"
    exported = folder / f"{recipe.name}.onnx"
    run(epsball, "export", model, "--out", exported, "--force")
    module = Exported(onnx.load(exported))
    x, y = nets.mnist(ROOT) if recipe.data == "mnist" else cifar()
    x, y = x[:n].reshape(-1, *module.input), y[:n]
    data = folder / f"{recipe.name}-{len(x)}.npz"
    np.savez(data, x=x, y=y.astype(np.int32))
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    logits = compare_logits(exported, module, x)
    return Subject(recipe.name, model, data, module, x, y, recipe.eps, logits.argmax(1) == y)


def run(epsball, *arguments):
    subprocess.run([epsball, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def compare_logits(path, module, x):
    with torch.inference_mode():
        ours = torch.cat([module(b) for b in x.split(250)])
    o = ort.SessionOptions()
    o.log_severity_level = 3
    session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    theirs = np.concatenate([session.run(None, {session.get_inputs()[0].name: b.numpy()})[0] for b in x.split(250)])
    off = np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()
    if not off < 1e-4:
        raise ValueError(f"{path.name}: logits differ from ONNX Runtime's by {off:g} of the largest, at most 1e-4 is allowed")
    return ours


def cifar():
    """The 100 test images of CIFAR-10 that are at hand in full quality."""
    path = SHARED / "cifar10" / "test_exact_100.bin.gz"
    if not path.exists():
        raise Absent(f"{path.relative_to(ROOT.parent)} is absent")
    with gzip.open(path) as f:
        records = np.frombuffer(f.read(), np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255), records[:, 0].astype(np.int64)


class Exported(torch.nn.Module):
    """A network that `epsball export` has written, its weights frozen."""

    def __init__(self, model):
        super().__init__()
        graph = model.graph
        weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in weights]
        self.input = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim[1:])
        self.values = {}  # name -> tensor that does not change
        for name, t in weights.items():
            self.register_buffer(f"w{len(self.values)}", t)
            self.values[name] = t
        self.first, self.last = inputs[0].name, graph.output[0].name
        self.steps = [(operator(n, self.values), [i for i in n.input if i], n.output[0]) for n in graph.node]
        # Attack libraries ask a model's parameters for its device.
        self.device_of = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.eval()

    def forward(self, x):
        values = {self.first: x}
        for apply, inputs, output in self.steps:
            values[output] = apply(*(values[i] if i in values else self.values[i] for i in inputs))
        return values[self.last]


def operator(node, weights):
    """node as a function of its inputs."""
    a = {p.name: onnx.helper.get_attribute_value(p) for p in node.attribute}
    if node.op_type in ("Conv", "AveragePool", "MaxPool"):
        return windowed(node.op_type, a)
    if node.op_type == "Gemm":
        if a.get("transA", 0) or a.get("alpha", 1) != 1 or a.get("beta", 1) != 1 or not a.get("transB", 0):
            raise ValueError(f"Gemm with {a}: want transB=1 alone")
        return F.linear
    simple = {
        "Relu": F.relu, "Add": torch.add, "Sub": torch.sub, "Div": torch.div, "Mul": torch.mul,
        "Identity": lambda x: x, "Flatten": lambda x: x.flatten(1), "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
    }
    if node.op_type not in simple:
        raise ValueError(f"operator {node.op_type}: want Conv, Gemm, a pooling or one of {', '.join(simple)}")
    return simple[node.op_type]


def windowed(kind, a):
    stride, pads = a.get("strides", [1, 1]), a.get("pads", [0, 0, 0, 0])
    top, left, bottom, right = pads
    if (top, left) != (bottom, right):
        raise ValueError(f"{kind} with pads {pads}: want the same on both sides")
    if kind == "Conv":
        dilation, group = a.get("dilations", [1, 1]), a.get("group", 1)
        return lambda x, w, b=None: F.conv2d(x, w, b, stride, (top, left), dilation, group)
    if kind == "MaxPool":
        return lambda x: F.max_pool2d(x, a["kernel_shape"], stride, (top, left))
    include = bool(a.get("count_include_pad", 0))
    return lambda x: F.avg_pool2d(x, a["kernel_shape"], stride, (top, left), count_include_pad=include)


def radius(text):
    """A radius as epsball reads it: 0.1 or 8/255."""
    over, _, under = text.partition("/")
    return float(over) / float(under or 1)
