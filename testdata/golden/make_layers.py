"""Writes the networks of layers/, which PyTorch exported to ONNX by each of its
exporters, and what PyTorch and ONNX Runtime say about them; package golden reads both.

    python make_layers.py [NAME...]

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6, onnx 1.23.2, onnxruntime 1.32.0
on one thread of an x86-64 CPU. Another run trains other weights if the versions differ.
Go has to be there: epsball exports each network again, which ONNX Runtime then runs.

lenet, sigmoid, mobilenet and resnet are trained for a few epochs on the MNIST images of
testdata/mnist; the others, of one or two layers behind (x - 0.5) / 0.25, are drawn at
random. For each NAME:

    layers/NAME.dynamo.onnx.gz, NAME.script.onnx.gz   the network, by either exporter
    layers/NAME.kept.onnx.gz   by the older one, if it has batch norms, which are left
                               alone; the exporters fold them otherwise

and in layers.npz (K outputs, N images, F files):

    NAME.x        [N, C, H, W] f4   in [0, 1]; trained networks: k/255 rounded once
    NAME.label    [N] i4            trained networks
    NAME.d        [N, K] f8         others: factors of the outputs
    NAME.y        [N, K] f8         outputs, those before a softmax at the end
    NAME.runtime  [F, N, K] f4      the same by ONNX Runtime from the exported files
    NAME.grad     [N, C, H, W] f8   gradient to x of the summed cross-entropy, or of
                                    the sum of d·y

y and grad are computed in float64 from the float32 weights, in evaluation mode. Images
are chosen so that no input of a ReLU, a clip or a max pool is near a kink: the gradient
is then the same after batch norms have been folded and rounded.
"""

import copy
import gzip
import logging
import pathlib
import struct
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn as nn
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE / "layers"
IMAGES, FEW = 16, 9  # of trained networks, of others
TRAINED, EPOCHS, BATCH = 20000, 3, 64
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)


def mnist():
    with gzip.open(HERE.parent / "mnist" / "train-images-idx3-ubyte.gz") as f:
        _, n, h, w = struct.unpack(">4i", f.read(16))
        x = np.frombuffer(f.read(), np.uint8).reshape(n, 1, h, w)
    with gzip.open(HERE.parent / "mnist" / "train-labels-idx1-ubyte.gz") as f:
        f.read(8)
        y = np.frombuffer(f.read(), np.uint8)
    return x, y.astype(np.int64)


# Trained networks.


class Normalize(nn.Module):
    def __init__(self, mean=0.1307, std=0.3081):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x):
        return (x - self.mean) / self.std


def lenet():
    return nn.Sequential(
        Normalize(),
        nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 5), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(300, 40), nn.ReLU(), nn.Linear(40, 10))


def sigmoid():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2, padding=2), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Conv2d(6, 12, 3), nn.Tanh(),
        nn.Flatten(), nn.Linear(300, 32), nn.Sigmoid(), nn.Linear(32, 10))


def separable(cin, out, stride):
    return nn.Sequential(
        nn.Conv2d(cin, cin, 3, stride, 1, groups=cin, bias=False), nn.BatchNorm2d(cin), nn.ReLU6(),
        nn.Conv2d(cin, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU6())


def mobilenet():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        separable(8, 16, 1), separable(16, 24, 2), separable(24, 32, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


class Block(nn.Module):
    def __init__(self, cin, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, out, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(out), nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(out), nn.ReLU()
        self.shortcut = nn.Sequential(nn.Conv2d(cin, out, 1, stride, bias=False), nn.BatchNorm2d(out)) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


def resnet():
    return nn.Sequential(
        Normalize(), nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        Block(8, 8, 1), Block(8, 16, 2), nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, 10))


def train(net, x, y):
    opt = torch.optim.Adam(net.parameters(), 3e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, EPOCHS * (TRAINED // BATCH))
    net.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED)[: TRAINED // BATCH * BATCH].split(BATCH):
            opt.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            opt.step()
            plan.step()
    return net.eval()


# Networks of a layer or two.


class Ways(nn.Module):
    """Several modules over one input, and what becomes of their outputs."""

    def __init__(self, meet, *ways):
        super().__init__()
        self.meet, self.ways = meet, nn.ModuleList(ways)

    def forward(self, x):
        return self.meet([w(x) for w in self.ways])


class Then(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


def cat(parts):
    return torch.cat(parts, 1)


def prelu(*slopes):
    m = nn.PReLU(len(slopes))
    with torch.no_grad():
        m.weight.copy_(torch.tensor(slopes))
    return m


KINDS = {  # name: network, dimensions of an image
    "relu": (nn.ReLU, (3, 4, 5)),
    "leaky_relu": (lambda: nn.LeakyReLU(0.1), (3, 4, 5)),
    "prelu": (lambda: prelu(0.3), (3, 4, 5)),
    "prelu_channels": (lambda: prelu(0.3, -0.2, 1.5), (3, 4, 5)),
    "prelu_features": (lambda: prelu(0.3, -0.2, 1.5, 0.0, 0.1), (5,)),
    "sigmoid_alone": (nn.Sigmoid, (3, 4, 5)),
    "tanh": (nn.Tanh, (3, 4, 5)),
    "hardtanh": (lambda: nn.Hardtanh(-0.7, 0.4), (3, 4, 5)),
    "relu6": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), Then(lambda x: 4 * x), nn.ReLU6()), (3, 4, 5)),
    "clamp_min": (lambda: Then(lambda x: x.clamp(min=-0.25)), (3, 4, 5)),
    "clamp_max": (lambda: Then(lambda x: x.clamp(max=0.5)), (3, 4, 5)),
    "dilated": (lambda: nn.Conv2d(2, 3, (3, 2), dilation=(2, 3), padding=(1, 2)), (2, 7, 6)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1, stride=2), (4, 6, 5)),
    "depthwise": (lambda: nn.Conv2d(5, 5, 3, groups=5, padding=1), (5, 6, 5)),
    "depthwise_wide": (lambda: nn.Conv2d(3, 6, 3, groups=3, dilation=2, padding=2, stride=2), (3, 7, 5)),
    "max_pool": (lambda: nn.MaxPool2d(2), (3, 6, 6)),
    "max_pool_padded": (lambda: nn.MaxPool2d(3, 2, 1), (3, 7, 6)),
    "avg_pool": (lambda: nn.AvgPool2d((2, 3), (2, 1)), (3, 6, 6)),
    "avg_pool_counted": (lambda: nn.AvgPool2d(3, 2, 1), (3, 7, 6)),
    "avg_pool_uncounted": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (3, 7, 6)),
    "global_avg_pool": (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 5, 6)),
    "mean": (lambda: Then(lambda x: x.mean((2, 3))), (3, 5, 6)),
    "batch_norm": (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
    "batch_norm_features": (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm1d(7, eps=1e-3)), (7,)),
    "batch_norm_after_add": (
        lambda: nn.Sequential(Ways(lambda v: v[0] + v[1], nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(2, 3, 1)), nn.BatchNorm2d(3), nn.ReLU()),
        (2, 4, 5)),
    "conv_batch_norm": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)), (2, 5, 5)),
    "depthwise_batch_norm": (lambda: nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.BatchNorm2d(3)), (3, 5, 5)),
    "add": (lambda: Ways(lambda v: v[0] + v[1], nn.ReLU(), nn.Tanh()), (3, 4, 5)),
    "concat": (lambda: Ways(cat, nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 1, 1)), (2, 4, 5)),
    "concat_features": (
        lambda: Ways(cat, nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten()), nn.Sequential(nn.Flatten(), nn.Linear(40, 4)), nn.Flatten()),
        (2, 4, 5)),
    "softmax": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(1)), (5,)),
    "log_softmax": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(18, 4), nn.LogSoftmax(-1)), (2, 3, 3)),
}


def randomize(net):
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(m.running_mean, 0, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0, 0.3)
    return net.eval()


# References.


def kinks(net, x):
    """For each image, the distance to the nearest kink, of inputs of modules with one."""
    least = torch.full((len(x),), torch.inf, dtype=torch.float64)
    lower = lambda d: torch.minimum(least, d.flatten(1).amin(1))

    def hook(m, inputs, _):
        nonlocal least
        v = inputs[0].detach()
        if isinstance(m, (nn.ReLU, nn.LeakyReLU, nn.PReLU)):
            least = lower(v.abs())
        elif isinstance(m, nn.Hardtanh):  # ReLU6 too
            least = lower(torch.minimum((v - m.min_val).abs(), (v - m.max_val).abs()))
        elif isinstance(m, nn.MaxPool2d):
            k, s, p = (torch.tensor(a).expand(2).tolist() for a in (m.kernel_size, m.stride, m.padding))
            u = F.unfold(F.pad(v, (p[1], p[1], p[0], p[0]), value=-1e30), k, stride=s)
            u = u.view(len(v), v.shape[1], k[0] * k[1], -1).sort(2, descending=True).values
            gap = u[:, :, 0] - u[:, :, 1]
            least = lower(torch.where(gap == 0, 1.0, gap))  # equal ones: zeros of a ReLU

    handles = [m.register_forward_hook(hook) for m in net.modules()]
    with torch.no_grad():
        net(x)
    for h in handles:
        h.remove()
    return least


def logits(net):
    """The network without a softmax at its end."""
    last = net[-1]
    if isinstance(last, nn.Sequential) and isinstance(last[-1], (nn.Softmax, nn.LogSoftmax)):
        return nn.Sequential(*net[:-1], last[:-1])
    return net


def export(net, x, name):
    files = []
    normed = any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in net.modules())
    for kind in ("dynamo", "script", "kept") if normed else ("dynamo", "script"):
        path = OUT / "export.onnx"
        if kind == "dynamo":
            torch.onnx.export(net, (x,), str(path), dynamo=True, external_data=False, verbose=False,
                              dynamic_shapes=({0: torch.export.Dim("batch")},))
        else:
            keep = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False} if kind == "kept" else {}
            torch.onnx.export(net, (x,), str(path), dynamo=False, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}}, **keep)
        m = onnx.load(path)
        path.unlink()
        for n in m.graph.node:  # stack traces name files of this machine
            n.ClearField("metadata_props")
            n.ClearField("doc_string")
        m.graph.ClearField("value_info")
        m.graph.ClearField("metadata_props")
        m.graph.ClearField("doc_string")
        onnx.checker.check_model(m)
        data = m.SerializeToString()
        with gzip.GzipFile(OUT / f"{name}.{kind}.onnx.gz", "wb", 9, mtime=0) as g:
            g.write(data)
        files.append(data)
    return files


def runtime(data, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    s = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return s.run(None, {s.get_inputs()[0].name: x})[0].reshape(len(x), -1)


def describe(name, net, x, label=None):
    """x: float32, more images than are needed."""
    exact = copy.deepcopy(logits(net)).double()
    far = kinks(exact, torch.tensor(x).double()) > 1e-5
    images = IMAGES if label is not None else FEW
    rows = torch.nonzero(far).flatten()[:images].numpy()
    if len(rows) < images:
        raise SystemExit(f"{name}: {len(rows)} images away from kinks")
    x = x[rows]
    wide = torch.tensor(x).double().requires_grad_()
    y = exact(wide).flatten(1)
    out = {"x": x}
    if label is None:
        d = np.random.default_rng(1).standard_normal(y.shape)
        (y * torch.tensor(d)).sum().backward()
        out["d"] = d
    else:
        out["label"] = label[rows].astype(np.int32)
        F.cross_entropy(y, torch.tensor(label[rows]), reduction="sum").backward()
    out["y"], out["grad"] = y.detach().numpy(), wide.grad.numpy()
    files = export(net, torch.tensor(x[:2]), name)
    out["runtime"] = np.stack([runtime(f, x) for f in files])
    scale = np.abs(out["y"]).max()
    if out["runtime"].shape[2] == y.shape[1] and logits(net) is net:
        print(name, "largest difference of ONNX Runtime's outputs", np.abs(out["runtime"] - out["y"]).max() / scale)
    else:  # its outputs are probabilities
        out["runtime"] = np.stack([out["y"]] * len(files)).astype(np.float32)
    return {f"{name}.{k}": v for k, v in out.items()}


def exports(arrays):
    """Every file is read and written again by epsball, with batch norms kept and folded;
    ONNX Runtime must compute the same with it."""
    worst = 0
    with tempfile.TemporaryDirectory() as d:
        tool, model, again = (pathlib.Path(d) / f for f in ("epsball", "m.safetensors", "e.onnx"))
        subprocess.run(["go", "build", "-o", tool, "./cmd/epsball"], cwd=HERE.parent.parent, check=True)
        for path in sorted(OUT.glob("*.onnx.gz")):
            name = path.name.split(".")[0]
            for keep in ([], ["--keep-batchnorm"]):
                subprocess.run([tool, "import", path, *keep, "--out", model, "--force"], check=True, stdout=subprocess.DEVNULL)
                subprocess.run([tool, "export", model, "--out", again, "--force"], check=True, stdout=subprocess.DEVNULL)
                m = onnx.load(again)
                onnx.checker.check_model(m, full_check=True)
                x = arrays[name + ".x"]
                dims = [v.dim_value for v in m.graph.input[0].type.tensor_type.shape.dim]
                y = runtime(m.SerializeToString(), x.reshape(len(x), *dims[1:]))
                want = arrays[name + ".y"]
                error = np.abs(y - want).max() / np.abs(want).max()
                if not error <= 2e-6:
                    raise SystemExit(f"{path.name}: ONNX Runtime's outputs with epsball's export are off by {error}")
                worst = max(worst, error)
    print("exports of all networks: largest relative difference", worst)


def main(names):
    OUT.mkdir(exist_ok=True)
    arrays = {}
    path = HERE / "layers.npz"
    if names and path.exists():
        arrays = {k: v for k, v in np.load(path).items() if k.split(".")[0] not in names}
    pixels, labels = mnist()
    x = (pixels.astype(np.float64) / 255).astype(np.float32)
    for make in (lenet, sigmoid, mobilenet, resnet):
        name = make.__name__
        if names and name not in names:
            continue
        torch.manual_seed(5)
        net = train(make(), torch.tensor(x[:TRAINED]), torch.tensor(labels[:TRAINED]))
        with torch.no_grad():
            right = (net(torch.tensor(x[-2000:])).argmax(1).numpy() == labels[-2000:]).mean()
        print(name, sum(p.numel() for p in net.parameters()), "parameters,", right, "right")
        arrays |= describe(name, net, x[-600:], labels[-600:])
    for name, (make, dims) in KINDS.items():
        if names and name not in names:
            continue
        torch.manual_seed(6)
        draw = np.random.default_rng(7).random((40, *dims)).astype(np.float32)
        arrays |= describe(name, nn.Sequential(Normalize(0.5, 0.25), randomize(make())).eval(), draw)
    with open(path, "wb") as f:
        np.savez_compressed(f, **arrays)
    exports(arrays)


main(sys.argv[1:])
