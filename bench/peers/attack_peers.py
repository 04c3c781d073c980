"""The attacks of attacks.py: what epsball's is called, and how each library runs its own
with the same budget. A library's function takes a Case and returns adversarial images.

pip install torch pyautoattack adv_lib torchattacks foolbox numpy onnx onnxruntime safetensors

pyautoattack is the auto-attack package of its authors, kept up on PyPI.
"""

import dataclasses
import sys
import types

import numpy as np
import torch


@dataclasses.dataclass
class Case:
    """What a library attacks: images that the network classifies correctly."""
    module: torch.nn.Module
    x: torch.Tensor
    y: torch.Tensor
    norm: str
    eps: float  # 0 for attacks that look for the smallest distance
    seed: int = 0


@dataclasses.dataclass
class Match:
    """One attack as epsball and its peers run it."""
    attack: str  # as `epsball attack --attack` reads it
    norms: tuple
    peers: dict  # name -> function of a Case
    smallest: bool = False  # looks for the smallest distance instead of taking a radius
    seeded: bool = True  # epsball's takes a seed
    reuse: str = ""  # the attack whose runs by the peers count here too, being the same and long
    anywhere: bool = False  # knows neither distance nor radius, only the pixels' range
    label: str = ""

    def __post_init__(self):
        self.label = self.label or self.attack


P = {"linf": float("inf"), "l2": 2, "l1": 1, "l0": 0}
CROCE = {"linf": "Linf", "l2": "L2", "l1": "L1"}  # as the authors of AutoAttack write norms


def resolved(case, options):
    """The options, those that are functions of the case replaced by their values."""
    return {k: v(case) if isinstance(v, types.FunctionType) else v for k, v in options.items()}


# --- auto-attack


def auto(case, version="standard"):
    from pyautoattack import AutoAttack
    a = AutoAttack(case.module, norm=CROCE[case.norm], eps=case.eps, seed=case.seed, version=version)
    a.verbose = False
    return a.run_standard_evaluation(case.x, case.y, batch_size=len(case.x))[0]


def auto_single(case, name):
    """One attack of AutoAttack with the parameters it has in the standard version."""
    from pyautoattack import AutoAttack
    a = AutoAttack(case.module, norm=CROCE[case.norm], eps=case.eps, seed=case.seed, version="standard")
    a.verbose, a.attacks_to_run = False, [name]
    if name == "apgd-dlr":
        a.apgd.n_restarts = 1
    return a.run_standard_evaluation(case.x, case.y, batch_size=len(case.x))[0]


def fab_smallest(case):
    """Untargeted FAB without a radius: the smallest distance it finds."""
    from pyautoattack.fab_pt import FABAttack_PT
    a = FABAttack_PT(case.module, n_restarts=1, n_iter=100, eps=1e10, seed=case.seed, norm=CROCE[case.norm], device="cpu")
    return a.perturb(case.x, case.y)


# --- adv-lib


def adv_lib():
    """Imports adv_lib without what no attack here uses: torchvision's networks (of a
    distance, LPIPS; each torchvision fits one PyTorch alone) and visdom's plots."""
    for name, members in (("torchvision", ["models"]), ("visdom", ["Visdom"])):
        if name not in sys.modules:
            stub = types.ModuleType(name)
            for member in members:
                setattr(stub, member, None)
            sys.modules[name] = stub
    import adv_lib.attacks
    return adv_lib.attacks


def advlib(case, name, norm=False, eps=False, **options):
    if norm:
        options["norm"] = P[case.norm]
    if eps:
        options[eps] = case.eps
    return getattr(adv_lib(), name)(case.module, case.x, case.y, targeted=False, **options)


# --- torchattacks


def torchattack(case, name, **options):
    import torchattacks
    options = resolved(case, options)
    return getattr(torchattacks, name)(case.module, **options)(case.x, case.y)


def radius(case):
    return case.eps


def croce(case):
    return CROCE[case.norm]


def half(case):
    return case.eps / 2


def quarter(case):
    return case.eps / 4


def tenth(case):
    return case.eps / 10


def bim_step(case):
    """At least one level of an 8-bit pixel, as in the paper."""
    return max(1 / 255, case.eps / 10)


# --- foolbox


def foolbox(case, name, **options):
    import foolbox as fb
    options = resolved(case, options)
    model = fb.PyTorchModel(case.module, bounds=(0, 1), device="cpu")
    attack = getattr(fb.attacks, name)(**options)
    found = attack(model, case.x, case.y, epsilons=case.eps or None)[0]
    return found.detach()


def decision(case, name, **options):
    """A black box of foolbox that starts from noise, as ours does; the images for which no
    noise is found stay as they are."""
    import foolbox as fb
    start = fb.attacks.LinearSearchBlendedUniformNoiseAttack(steps=50, directions=1000)
    return foolbox(case, name, init_attack=start, **options)


def of(function, *arguments, **options):
    return lambda case: function(case, *arguments, **options)


def apgd(norms, shared, options, of_each):
    """APGD on each loss: with which options epsball runs it, and adv-lib the same."""
    for name, text in options.items():
        loss = "ce" if name == "apgd-ce" else "dlr"
        peers = {"auto-attack": of(auto_single, name)}
        given = shared | of_each.get(name, {})
        if name == "apgd-t":
            peers["adv-lib"] = of(advlib, "apgd_targeted", norm=True, eps="eps", **given)
        else:
            peers["adv-lib"] = of(advlib, "apgd", norm=True, eps="eps", loss_function=loss, **given)
        if not shared:  # torchattacks has no stages
            peers["torchattacks"] = of(torchattack, "APGDT", norm=croce, eps=radius, steps=100) if name == "apgd-t" else of(
                torchattack, "APGD", norm=croce, eps=radius, steps=100, loss=loss)
        yield Match(name + text, norms, peers, label=name)


MATCHES = (
    # fixed radius
    Match("fgsm", ("linf",), {
        "torchattacks": of(torchattack, "FGSM", eps=radius), "foolbox": of(foolbox, "FGSM", random_start=False)}),
    Match("fgsm", ("l2",), {"foolbox": of(foolbox, "FGM", random_start=False)}),
    Match("pgd:steps=40", ("linf",), {
        "torchattacks": of(torchattack, "PGD", eps=radius, alpha=quarter, steps=40),
        "foolbox": of(foolbox, "LinfPGD", abs_stepsize=quarter, steps=40),
        "adv-lib": of(advlib, "pgd_linf", eps="ε", steps=40, relative_step_size=0.25)}, label="pgd"),
    Match("pgd:steps=40", ("l2",), {
        "torchattacks": of(torchattack, "PGDL2", eps=radius, alpha=quarter, steps=40),
        "foolbox": of(foolbox, "L2PGD", abs_stepsize=quarter, steps=40)}, label="pgd"),
    Match("pgd:steps=40", ("l1",), {"foolbox": of(foolbox, "L1PGD", abs_stepsize=quarter, steps=40)}, label="pgd"),
    Match("bim:steps=10", ("linf",), {
        "torchattacks": of(torchattack, "BIM", eps=radius, alpha=bim_step, steps=10),
        "foolbox": of(foolbox, "LinfBasicIterativeAttack", abs_stepsize=bim_step, steps=10)}, label="bim"),
    Match("rfgsm", ("linf",), {"torchattacks": of(torchattack, "RFGSM", eps=radius, alpha=half, steps=1)}),
    Match("mifgsm", ("linf",), {
        "torchattacks": of(torchattack, "MIFGSM", eps=radius, alpha=tenth, steps=10),
        "foolbox": of(foolbox, "LinfMomentumIterativeFastGradientMethod", abs_stepsize=tenth, steps=10)}),
    Match("nifgsm", ("linf",), {"torchattacks": of(torchattack, "NIFGSM", eps=radius, alpha=tenth, steps=10)}),
    Match("pifgsm", ("linf",), {"torchattacks": of(torchattack, "PIFGSM", max_epsilon=radius)}),
    *apgd(("linf", "l2"), {}, {"apgd-ce": "", "apgd-dlr": "", "apgd-t": ""}, {}),
    # As AutoAttack sets them in L1.
    *apgd(("l1",), {"use_large_reps": True}, {"apgd-ce": ":stages,restarts=5", "apgd-dlr": ":stages", "apgd-t": ":stages,targets=5"},
          {"apgd-ce": {"n_restarts": 5}, "apgd-t": {"num_targets": 5}}),
    Match("fab-t", ("linf", "l2", "l1"), {
        "auto-attack": of(auto_single, "fab-t"),
        "torchattacks": of(torchattack, "FAB", norm=croce, eps=radius, steps=100, multi_targeted=True)}),
    Match("square", ("linf", "l2", "l1"), {
        "auto-attack": of(auto_single, "square"),
        "torchattacks": of(torchattack, "Square", norm=croce, eps=radius, resc_schedule=False)}),
    Match("noise:draws=100", ("linf",), {
        "foolbox": of(foolbox, "LinfRepeatedAdditiveUniformNoiseAttack", repeats=100)}, label="noise"),
    Match("noise:kind=gaussian,draws=100", ("l2",), {
        "foolbox": of(foolbox, "L2RepeatedAdditiveGaussianNoiseAttack", repeats=100)}, label="noise"),
    Match("spatial:rotations=5,translations=5", ("linf",), {"foolbox": of(foolbox, "SpatialAttack")}, anywhere=True, label="spatial"),
    Match("sparse-rs", ("l0",), {  # which asks for logits alone; the peers follow gradients
        "foolbox FMN": of(foolbox, "L0FMNAttack"), "adv-lib sigma-zero": of(advlib, "sigma_zero", num_steps=100)}),
    Match("auto", ("linf", "l2", "l1"), {"auto-attack": auto}),
    Match("fast", ("linf", "l2", "l1"), {"auto-attack": auto}, reuse="auto"),
    # smallest distance
    Match("deepfool", ("l2",), {
        "foolbox": of(foolbox, "L2DeepFoolAttack"), "adv-lib": of(advlib, "df", norm=True),
        "torchattacks": of(torchattack, "DeepFool")}, smallest=True, seeded=False),
    Match("deepfool", ("linf",), {
        "foolbox": of(foolbox, "LinfDeepFoolAttack"), "adv-lib": of(advlib, "df", norm=True)}, smallest=True, seeded=False),
    Match("cw:steps=1000", ("l2",), {
        "adv-lib": of(advlib, "carlini_wagner_l2", max_iterations=1000),
        "foolbox": of(foolbox, "L2CarliniWagnerAttack", steps=1000),
        "torchattacks": of(torchattack, "CW", steps=1000)}, smallest=True, seeded=False, label="cw"),
    Match("ddn", ("l2",), {
        "adv-lib": of(advlib, "ddn", levels=None), "foolbox": of(foolbox, "DDNAttack")}, smallest=True),
    Match("fmn:steps=100", ("linf",), {
        "adv-lib": of(advlib, "fmn", norm=True, steps=100), "foolbox": of(foolbox, "LInfFMNAttack")}, smallest=True, label="fmn"),
    Match("fmn:steps=100", ("l2",), {
        "adv-lib": of(advlib, "fmn", norm=True, steps=100), "foolbox": of(foolbox, "L2FMNAttack")}, smallest=True, label="fmn"),
    Match("fmn:steps=100", ("l1",), {
        "adv-lib": of(advlib, "fmn", norm=True, steps=100), "foolbox": of(foolbox, "L1FMNAttack")}, smallest=True, label="fmn"),
    Match("fmn:steps=100", ("l0",), {
        "adv-lib": of(advlib, "fmn", norm=True, steps=100), "foolbox": of(foolbox, "L0FMNAttack"),
        "adv-lib sigma-zero": of(advlib, "sigma_zero", num_steps=100), "adv-lib VFGA": of(advlib, "vfga"),
        "torchattacks JSMA": of(torchattack, "JSMA")}, smallest=True, label="fmn"),
    Match("fab", ("linf", "l2", "l1"), {
        "auto-attack": fab_smallest,
        "adv-lib": of(advlib, "fab", norm=True),
        "torchattacks": of(torchattack, "FAB", norm=croce, eps=1e10, steps=100)}, smallest=True),
    Match("fab-t", ("linf", "l2", "l1"), {
        "adv-lib": of(advlib, "fab", norm=True, restarts=9, targeted_restarts=True)}, smallest=True, label="fab-t-smallest"),
    Match("ead:steps=1000", ("l1",), {
        "foolbox": of(foolbox, "EADAttack", steps=1000, decision_rule="L1"),
        "torchattacks": of(torchattack, "EADL1", max_iterations=1000)}, smallest=True, seeded=False, label="ead"),
    Match("hopskipjump", ("l2",), {"foolbox": of(decision, "HopSkipJumpAttack", steps=20)}, smallest=True),
    Match("boundary", ("l2",), {"foolbox": of(decision, "BoundaryAttack", steps=5000)}, smallest=True),
)


def distance(x, adversarial, norm):
    """Of each image, in float64."""
    d = (adversarial.double() - x.double()).flatten(1)
    if norm == "l0":
        return (d != 0).sum(1).double().numpy()
    return np.asarray(d.abs().max(1).values if norm == "linf" else d.norm(p=P[norm], dim=1))
