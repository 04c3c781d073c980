"""epsball as attacks.py runs it, through its command line, and the judge of both sides."""

import dataclasses
import json
import os
import subprocess

import numpy as np
import torch

import attack_peers


class Refused(Exception):
    """epsball has not run the attack, and says why."""


@dataclasses.dataclass
class Outcome:
    """What an attack has done to the images that the network classifies correctly."""
    fooled: np.ndarray
    distance: np.ndarray  # of each image's adversarial point, in the norm of the attack
    seconds: float
    outside: int  # points outside ball or box, by more than rounding: they do not count
    denied: int = 0  # fooled by epsball's account, not by PyTorch's logits
    version: str = ""
    cpu: float = 0.0  # seconds of CPU time, of epsball's whole process


# What rounding a library's arithmetic may add to a distance.
TOLERANCE = {"linf": 1e-6, "l2": 1e-5, "l1": 1e-4, "l0": 0}


def run(options, subject, match, row, seed):
    """Runs `epsball attack`. Its seconds are by its own clock: without its start and
    without reading files, which the peers' do not include either."""
    out = options.folder / "out.npz"
    command = [options.epsball, "attack", "--json", "--model", subject.model, "--data", subject.data,
               "--attack", match.attack, "--norm", row.norm, "--threads", row.threads, "--out", out, "--force"]
    if match.seeded:
        command += ["--seed", seed]
    if row.eps:
        command += ["--eps", row.eps]
    before = sum(os.times()[2:4])
    p = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    cpu = sum(os.times()[2:4]) - before
    if p.returncode == 2:
        raise Refused((p.stderr.strip().splitlines() or ["exit status 2"])[-1])
    report = json.loads(p.stdout)
    failed = [c["name"] for c in report["checks"] if not c.get("ok", c.get("verdict") != "fail")]
    if failed:
        raise Refused(f"its checks {', '.join(failed)} fail")
    with np.load(out) as f:
        x, pred = torch.from_numpy(f["x"]), torch.from_numpy(f["pred"].astype(np.int64))
    case = attack_peers.Case(subject.module, subject.x[subject.correct], subject.y[subject.correct], row.norm,
                             0.0 if not row.eps else report["eps"])
    o = judge(case, x[subject.correct].reshape(case.x.shape), report["seconds"])
    fooled = (pred[subject.correct] != case.y).numpy()
    # On the decision boundary, rounding decides: epsball's own logits count for it, as
    # PyTorch's do for the peers.
    o.denied, o.fooled, o.version = int((fooled & ~o.fooled).sum()), fooled, report["attack"]
    o.cpu = cpu
    return o


def judge(case, adversarial, seconds):
    """Looks at adversarial images, whoever made them, with PyTorch's logits."""
    with torch.inference_mode():
        label = torch.cat([case.module(b).argmax(1) for b in adversarial.split(250)])
    distance = attack_peers.distance(case.x, adversarial, case.norm)
    inside = torch.isfinite(adversarial).flatten(1).all(1).numpy()
    inside &= (adversarial.flatten(1).min(1).values >= 0).numpy() & (adversarial.flatten(1).max(1).values <= 1).numpy()
    if case.eps:
        inside &= distance <= case.eps * (1 + TOLERANCE[case.norm]) + TOLERANCE[case.norm]
    return Outcome((label != case.y).numpy() & inside, distance, seconds, int((~inside).sum()))
