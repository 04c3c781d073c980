"""Writes optimisers.npz beside it: trainings of STEPS steps by PyTorch's optimisers, on
golden networks of make_golden.py. The tests of package train compare epsball with it.

    python make_optimisers.py

Last run with Python 3.11.7, torch 2.15.0, numpy 2.4.6. For each CASE and NET:

    CASE.lr          [STEPS] f8   learning rate of each step
    CASE.NET.weight.I, CASE.NET.bias.I f8        layer I after the last step
    CASE.NET.swa.weight.I, CASE.NET.swa.bias.I f8   their mean after steps 3 … STEPS

A step descends the mean cross-entropy of all of the network's images. Weight decay and
the L1 penalty act on weights, not on biases. All is computed in float64 from float32
weights and pixels, by autograd.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel

from make_golden import NETS
from make_trades import load

STEPS = 6
HERE = pathlib.Path(__file__).parent


def one_cycle(step):
    """Of Wong et al. 2020's code: the rate at the end of the step."""
    return np.interp(step + 1, [0, 0.4 * STEPS, STEPS], [0, 0.05, 0.001]) / 0.05


CASES = {
    # name: optimiser of parameter groups, schedule of an optimiser, L1, clipping
    "nesterov": (lambda g: torch.optim.SGD(g, lr=0.05, momentum=0.9, nesterov=True),
                 lambda o: torch.optim.lr_scheduler.LambdaLR(o, one_cycle), 1e-2, 0, 0.5),
    "sgd": (lambda g: torch.optim.SGD(g, lr=0.05, momentum=0.5),
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 5], 0.2), 0, 1e-2, 0),
    "adam": (lambda g: torch.optim.Adam(g, lr=0.01),
             lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1), 0.1, 0, 0),
    "adamw": (lambda g: torch.optim.AdamW(g, lr=0.01),
              lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, STEPS, 1e-4), 0.1, 0, 0),
}


class Params(torch.nn.Module):
    def __init__(self, params):
        super().__init__()
        self.w = torch.nn.ParameterList(w.double() for w, _ in params.values())
        self.b = torch.nn.ParameterList(b.double() for _, b in params.values())

    def of(self, keys):
        return dict(zip(keys, zip(self.w, self.b)))


def main():
    out = {}
    for case, (optimiser, schedule, decay, l1, clip) in CASES.items():
        for name, _, shape, layers in NETS:
            if name not in ("strided", "dense"):
                continue
            net, golden = load(name, shape, layers), np.load(HERE / f"{name}.npz")
            x, y = torch.tensor(golden["x"]).double(), torch.tensor(golden["y"]).long()
            p = Params(net.params)
            o = optimiser([{"params": list(p.w), "weight_decay": decay}, {"params": list(p.b), "weight_decay": 0}])
            s, mean, rates = schedule(o), AveragedModel(p), []
            for step in range(STEPS):
                o.zero_grad()
                loss = F.cross_entropy(net.forward(x, p.of(net.params))[0], y)
                (loss + l1 * sum(w.abs().sum() for w in p.w)).backward()
                if clip:
                    assert torch.nn.utils.clip_grad_norm_(p.parameters(), clip) > clip
                rates.append(o.param_groups[0]["lr"])
                o.step()
                s.step()
                if step + 1 >= 3:
                    mean.update_parameters(p)
            out[f"{case}.lr"] = np.array(rates)
            for kind, params in ("", p), ("swa.", mean.module):
                for i, (w, b) in params.of(net.params).items():
                    out[f"{case}.{name}.{kind}weight.{i}"] = w.detach().numpy()
                    out[f"{case}.{name}.{kind}bias.{i}"] = b.detach().numpy()
    np.savez_compressed(HERE / "optimisers.npz", **out)


if __name__ == "__main__":
    main()
