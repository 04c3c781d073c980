"""Writes vnncomp.npz: bounds by auto_LiRPA, in float64, of networks that others trained.

Reads the ONNX files of ../shared/data/vnncomp (not part of the repository), rebuilds
them in PyTorch, and bounds the margins of some images in a ball clipped to [0, 1].
verify's test reads the networks through internal/onnx.

    PYTHONPATH=bench/peers python testdata/golden/make_vnncomp.py
"""

import gzip
import pathlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch

import lirpa

# PyTorch has since given a method that auto_LiRPA overrides one argument more.
_members = lirpa.BoundedModule._named_members
lirpa.BoundedModule._named_members = lambda self, *a, remove_duplicate=True, **k: _members(self, *a, **k)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "vnncomp"
NETS = {  # name -> file, input (C, H, W), eps
    "mnist_fc_256x2": ("mnist_fc_2022/onnx/mnist-net_256x2.onnx.gz", (1, 28, 28), 0.03),
    "mnist_fc_256x4": ("mnist_fc_2022/onnx/mnist-net_256x4.onnx.gz", (1, 28, 28), 0.02),
    "marabou_small": ("marabou_cifar10_2021/onnx/cifar10_small.onnx.gz", (3, 32, 32), 0.002),
    "resnet_2b": ("cifar10_resnet_2021/onnx/resnet_2b.onnx.gz", (3, 32, 32), 0.002),
    "collins": ("collins_rul_cnn_2022/onnx/NN_rul_small_window_20.onnx.gz", (1, 20, 20), 0.005),
}


class Graph(torch.nn.Module):
    """An ONNX graph of the few operators these networks have. images are NCHW."""

    def __init__(self, model, nhwc):
        super().__init__()
        self.nodes, self.nhwc = model.graph.node, nhwc
        self.const = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        self.input = [i.name for i in model.graph.input if i.name not in self.const][0]
        self.output = model.graph.output[0].name
        self.weights = torch.nn.ParameterDict()
        for name, value in self.const.items():
            if value.dtype == np.float32:
                self.weights[name.replace(".", "_")] = torch.nn.Parameter(torch.from_numpy(value.copy()), requires_grad=False)

    def forward(self, x):
        v = {self.input: x}
        get = lambda n: v[n] if n in v else self.weights[n.replace(".", "_")]
        for n in self.nodes:
            attr = {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}
            i = n.input
            if n.op_type == "Conv":
                pads = attr.get("pads", [0] * 4)
                assert list(pads[:2]) == list(pads[2:])
                out = torch.nn.functional.conv2d(get(i[0]), get(i[1]), get(i[2]) if len(i) > 2 else None,
                                                 stride=list(attr["strides"]), padding=list(pads[:2]))
            elif n.op_type == "Relu":
                out = torch.relu(get(i[0]))
            elif n.op_type == "Gemm":
                w = get(i[1]) if attr.get("transB") else get(i[1]).t()
                out = torch.nn.functional.linear(get(i[0]), w, get(i[2]))
            elif n.op_type == "MatMul":
                out = torch.matmul(get(i[0]), get(i[1]))
            elif n.op_type == "Add":
                out = get(i[0]) + get(i[1])
            elif n.op_type in ("Flatten", "Reshape"):
                out = get(i[0]).flatten(1)
            elif n.op_type == "Transpose":
                if get(i[0]) is x and self.nhwc:  # images are NCHW here
                    out = x
                else:
                    out = get(i[0]).permute(*attr["perm"])
            elif n.op_type == "Dropout":
                out = get(i[0])
            else:
                raise NotImplementedError(n.op_type)
            v[n.output[0]] = out
        return v[self.output]


def main():
    rng, arrays = np.random.default_rng(7), {}
    for name, (file, shape, eps) in NETS.items():
        raw = gzip.open(DATA / file).read()
        model = onnx.load_from_string(raw)
        nhwc = name.startswith("marabou")
        net = Graph(model, nhwc).double().eval()
        x = rng.random((2, *shape), dtype=np.float32)
        session = onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])
        for k in range(len(x)):
            feed = x[k:k + 1].transpose(0, 2, 3, 1) if nhwc else x[k:k + 1]
            want = session.run(None, {session.get_inputs()[0].name: feed.reshape([1] + [d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape[1:]])})[0]
            assert np.allclose(net(torch.from_numpy(x[k:k + 1]).double()).numpy(), want, rtol=1e-4, atol=1e-4), name
        xd = torch.from_numpy(x).double()
        bounded = lirpa.BoundedModule(net, torch.zeros_like(xd[:1]), bound_opts={"conv_mode": "matrix", "sparse_intermediate_bounds": False})
        ball = lirpa.PerturbationLpNorm(norm=float("inf"), eps=eps, x_L=(xd - eps).clamp(min=0), x_U=(xd + eps).clamp(max=1))
        inputs = lirpa.BoundedTensor(xd, ball)
        logits = net(xd)
        outputs = logits.shape[1]
        if outputs > 1:
            y = logits.argmax(1)
            others = torch.tensor([[j for j in range(outputs) if j != label] for label in y.tolist()])
            eye = torch.eye(outputs, dtype=torch.float64)
            rows = eye[y][:, None] - eye[others]
        else:
            y, rows = torch.zeros(len(x), dtype=torch.int64), torch.ones((len(x), 1, 1), dtype=torch.float64)
        arrays[name + "/x"], arrays[name + "/y"], arrays[name + "/eps"] = x, y.numpy(), np.float64(eps)
        for method in "IBP", "CROWN-IBP", "CROWN":
            with torch.no_grad():
                low = bounded.compute_bounds(x=(inputs,), C=rows, method=method, bound_upper=False)[0]
            arrays[f"{name}/{method}"] = np.ascontiguousarray(low.numpy())
            print(name, method, low.min(1).values.numpy())
    np.savez_compressed(pathlib.Path(__file__).with_name("vnncomp.npz"), **arrays)


if __name__ == "__main__":
    main()
