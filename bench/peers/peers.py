"""The contestants. Each function prepares one for a cell (compare.Cell) and
returns its first result, to be checked against epsball's, and a call to time.
What a first result is, worker/passes.go says.
"""

import numpy as np
import onnxruntime as ort
import torch
import torch.nn.functional as F

import graphs
import lirpa
import nets

TIMED_LR = 1e-6  # as the worker's: thousands of steps leave the work as it is


# --- ONNX Runtime


class Session:
    """A session with its inputs and outputs bound to fixed memory. Its idle
    threads spin within a run and stop at its end, so that they take no time
    from whoever is timed next."""

    def __init__(self, model, threads):
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        o.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
        self.values = {}

    def bind(self, inputs):
        binding = self.session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                value = ort.OrtValue.ortvalue_from_numpy(value.copy())  # it shares its memory
            self.values[name] = value
            binding.bind_ortvalue_input(name, value)
        for out in self.session.get_outputs():
            value = ort.OrtValue.ortvalue_from_numpy(np.zeros(out.shape, np.float32))
            self.values[out.name] = value
            binding.bind_ortvalue_output(out.name, value)
        return lambda: self.session.run_with_iobinding(binding)

    def get(self, name):
        return self.values[name].numpy().copy()


def ort_forward(cell):
    s = Session(graphs.forward(cell.net, len(cell.x)), cell.threads)
    call = s.bind({"x": cell.x})
    call()
    return s.get("z"), call


def _ort_step(cell, adjoint):
    s = Session(graphs.pgd_step(cell.net, len(cell.x), cell.step, adjoint), cell.threads)
    lo, hi = box(cell)
    call = s.bind({"x": cell.x, "lo": lo, "hi": hi, "onehot": np.eye(nets.CLASSES, dtype=np.float32)[cell.y]})
    return s, call


def ort_pgd_step(cell):
    s, call = _ort_step(cell, graphs.transposed_conv)
    call()
    return s.get("next"), call


def ort_pgd_step_flipped(cell):
    s, call = _ort_step(cell, graphs.flipped_conv)
    call()
    return s.get("next"), call


def ort_pgd(cell):
    """The step graph again and again, and the forward graph to judge."""
    wide = cell.net.input[0] == 3  # C, where this is the faster of the two
    s, _ = _ort_step(cell, graphs.flipped_conv if wide else graphs.transposed_conv)
    judge = Session(graphs.forward(cell.net, len(cell.x)), cell.threads)
    lo, hi = box(cell)
    onehot = np.eye(nets.CLASSES, dtype=np.float32)[cell.y]
    there = s.bind({"x": cell.x, "lo": lo, "hi": hi, "onehot": onehot})
    x, other = s.values["x"], s.values["next"]
    back = s.session.io_binding()
    for name in ("lo", "hi", "onehot"):
        back.bind_ortvalue_input(name, s.values[name])
    back.bind_ortvalue_input("x", other)
    back.bind_ortvalue_output("next", x)
    final = judge.bind({"x": x if cell.steps % 2 == 0 else other})
    rng = np.random.default_rng(1)

    def call():
        x.update_inplace(random_start(cell, rng, lo, hi))
        for i in range(cell.steps):
            there() if i % 2 == 0 else s.session.run_with_iobinding(back)
        final()
        return judge.get("z").argmax(1) != cell.y
    return call(), call


def ort_ibp(cell):
    s = Session(graphs.ibp(cell.net, len(cell.x), cell.eps_float), cell.threads)
    call = s.bind({"x": cell.x})
    call()
    return graphs.margins(s.get("c"), s.get("r"), cell.y), call


# --- PyTorch


def module_and_batch(cell, channels_last=False):
    module, x = nets.torch_module(cell.net), torch.from_numpy(cell.x)
    if channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return module, x, torch.from_numpy(cell.y)


def inference(call):
    def wrapped():
        with torch.inference_mode():
            return call()
    return wrapped


def torch_forward(cell, channels_last=False, compiled=False):
    module, x, _ = module_and_batch(cell, channels_last)
    if compiled:
        module = torch.compile(module, mode="max-autotune-no-cudagraphs")
    call = inference(lambda: module(x))
    return call().numpy(), call


def torch_forward_channels_last(cell):
    return torch_forward(cell, channels_last=True)


def torch_forward_compiled(cell):
    torch._dynamo.reset()
    return torch_forward(cell, compiled=True)


def ascend(module, x, y, alpha, lo, hi):
    """One step as a careful user writes it: no copies, weights frozen."""
    x.requires_grad_(True)
    loss = F.cross_entropy(module(x), y, reduction="sum")
    gradient, = torch.autograd.grad(loss, x)
    x.requires_grad_(False)
    return torch.clamp_(gradient.sign_().mul_(alpha).add_(x), lo, hi)


def torch_pgd_step(cell, channels_last=False):
    module, x, y = module_and_batch(cell, channels_last)
    lo, hi = (torch.from_numpy(t) for t in box(cell))
    if channels_last:
        lo, hi = (t.to(memory_format=torch.channels_last) for t in (lo, hi))

    def call():
        return ascend(module, x, y, cell.step, lo, hi)
    return call().numpy(), call


def torch_pgd_step_channels_last(cell):
    return torch_pgd_step(cell, channels_last=True)


def torch_pgd(cell):
    module, _, y = module_and_batch(cell)
    lo, hi = box(cell)
    tlo, thi = torch.from_numpy(lo), torch.from_numpy(hi)
    rng = np.random.default_rng(1)

    def call():
        x = torch.from_numpy(random_start(cell, rng, lo, hi))
        for _ in range(cell.steps):
            x = ascend(module, x, y, cell.step, tlo, thi)
        with torch.inference_mode():
            return (module(x).argmax(1) != y).numpy()
    return call(), call


def torch_train(cell, channels_last=False):
    """Cross-entropy and Adam, fused."""
    def stepper(lr):
        module, x, y = module_and_batch(cell, channels_last)
        module.requires_grad_(True)
        adam = torch.optim.Adam(module.parameters(), lr=lr, fused=True)

        def step():
            adam.zero_grad(set_to_none=True)
            loss = F.cross_entropy(module(x), y)
            loss.backward()
            adam.step()
            return loss
        return step
    check, call = stepper(cell.lr), stepper(TIMED_LR)
    losses = np.array([check().item(), check().item()], np.float32)
    call()
    return losses, call


def torch_train_channels_last(cell):
    return torch_train(cell, channels_last=True)


def drawn(cell, channels_last=False):
    """Room for samples, and a call that fills it with the image and fresh noise, in place.
    The noise itself is drawn into memory in order, which PyTorch does fastest."""
    c, h, w = cell.net.input
    x = torch.from_numpy(cell.x)
    samples = torch.empty((cell.batch, h, w, c) if channels_last else (cell.batch, c, h, w))
    seen = samples.permute(0, 3, 1, 2) if channels_last else samples

    def draw():
        samples.normal_(0, float(cell.sigma))
        return seen.add_(x)
    return seen, draw


def shares(z):
    """The share of each class in the votes."""
    return torch.bincount(z.argmax(1), minlength=nets.CLASSES).numpy() / np.float32(len(z))


def torch_smooth(cell, channels_last=False):
    module, _, _ = module_and_batch(cell)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    _, draw = drawn(cell, channels_last)
    call = inference(lambda: shares(module(draw())))
    return call(), call


def torch_smooth_channels_last(cell):
    return torch_smooth(cell, channels_last=True)


def ort_smooth(cell):
    """PyTorch's noise in ONNX Runtime's memory."""
    s = Session(graphs.forward(cell.net, cell.batch), cell.threads)
    seen, draw = drawn(cell)
    forward = s.bind({"x": ort.OrtValue.ortvalue_from_numpy(seen.numpy())})
    logits = s.values["z"]

    def call():
        draw()
        forward()
        return shares(torch.from_numpy(logits.numpy()))
    return call(), call


# --- attack and bound libraries


def torchattacks_pgd(cell):
    import torchattacks
    module, x, y = module_and_batch(cell)
    attack = torchattacks.PGD(module, eps=cell.eps_float, alpha=cell.step, steps=cell.steps, random_start=True)

    def call():
        return attack(x, y)
    fooled = module(call()).argmax(1) != y
    return fooled.numpy(), call


def foolbox_pgd(cell):
    import foolbox
    module, x, y = module_and_batch(cell)
    model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=cell.step, steps=cell.steps, random_start=True)

    def call():
        return attack(model, x, y, epsilons=cell.eps_float)
    return call()[2].numpy(), call


def lirpa_ibp(cell):
    return lirpa_bounds(cell, "IBP")


def lirpa_crown_ibp(cell):
    return lirpa_bounds(cell, "CROWN-IBP")


def lirpa_crown(cell):
    return lirpa_bounds(cell, "CROWN")


def lirpa_alpha_crown(cell):
    return lirpa_bounds(cell, "CROWN-Optimized")


def lirpa_bounds(cell, method):
    if lirpa.BoundedModule is None:
        raise ImportError(lirpa.why)
    module, x, y = module_and_batch(cell)
    bounded = lirpa.BoundedModule(module, torch.zeros_like(x), bound_opts={"optimize_bound_args": {"iteration": cell.steps}})
    box_around = lirpa.PerturbationLpNorm(
        norm=float("inf"), eps=cell.eps_float,
        x_L=(x - cell.eps_float).clamp(min=0), x_U=(x + cell.eps_float).clamp(max=1))
    inputs = lirpa.BoundedTensor(x, box_around)
    others = np.array([[j for j in range(nets.CLASSES) if j != label] for label in cell.y])
    eye = torch.eye(nets.CLASSES)
    rows = eye[y][:, None] - eye[torch.from_numpy(others)]

    def bounds():
        return bounded.compute_bounds(x=(inputs,), C=rows, method=method, bound_upper=False)[0]

    def call():
        if method == "CROWN-Optimized":
            return bounds().detach()
        with torch.no_grad():  # not inference mode: auto_LiRPA keeps tensors between calls
            return bounds()
    return call().min(1).values.numpy(), call


# --- shared


def box(cell):
    e = np.float32(cell.eps_float)
    return np.maximum(cell.x - e, np.float32(0)), np.minimum(cell.x + e, np.float32(1))


def random_start(cell, rng, lo, hi):
    noise = rng.random(cell.x.shape, dtype=np.float32)
    noise *= 2 * np.float32(cell.eps_float)
    noise += cell.x - np.float32(cell.eps_float)
    return np.clip(noise, lo, hi, out=noise)


CONTESTANTS = {
    "forward": {
        "ONNX Runtime": ort_forward,
        "PyTorch": torch_forward,
        "PyTorch channels_last": torch_forward_channels_last,
    },
    "pgd-step": {
        "ONNX Runtime": ort_pgd_step,
        "ONNX Runtime flipped": ort_pgd_step_flipped,
        "PyTorch": torch_pgd_step,
        "PyTorch channels_last": torch_pgd_step_channels_last,
    },
    "pgd": {
        "ONNX Runtime": ort_pgd,
        "PyTorch": torch_pgd,
        "torchattacks": torchattacks_pgd,
        "foolbox": foolbox_pgd,
    },
    "ibp": {
        "ONNX Runtime": ort_ibp,
        "auto_LiRPA": lirpa_ibp,
    },
    "crown-ibp": {"auto_LiRPA": lirpa_crown_ibp},
    "crown": {"auto_LiRPA": lirpa_crown},
    "alpha-crown": {"auto_LiRPA": lirpa_alpha_crown},
    "train": {
        "PyTorch": torch_train,
        "PyTorch channels_last": torch_train_channels_last,
    },
    "smooth": {
        "ONNX Runtime": ort_smooth,
        "PyTorch": torch_smooth,
        "PyTorch channels_last": torch_smooth_channels_last,
    },
}
