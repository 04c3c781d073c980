#!/usr/bin/env python3
"""A second checker of certificates, written from docs/certificate.md.

    check.py CERTIFICATES --model M.safetensors --data D   prove a file's lines
    check.py CERTIFICATES --model M.safetensors            those of regions of properties
    check.py FOLDER                                        judge FOLDER/vectors.json

D is an .npz with x and y, or a folder with MNIST's t10k files. Models are .safetensors
files of version 1 or 2 as epsball writes them. It needs Python 3.9 and nothing else, and
takes its time: all arithmetic is on integers.
"""

import argparse, functools, hashlib, json, os, struct, sys
from fractions import Fraction

sys.dont_write_bytecode = True

from layers import ONE
from proof import Proof
from reading import Refused, load_data, load_model, need, parse, units
from trees import Steps, parse_step


def claim(c, model, data):
    """The image and the rows of a certificate that claims something."""
    (nodes, digest), (images, labels) = model, data or ((), ())
    need(c["model"] == digest, "model", "another one")
    if "low" in c:
        need(len(c["low"]) == nodes[0].size, "low", "not one for each input")
        need(c["level"] == "real" or all(n.terms <= 1 << 21 for n in nodes), "level", "a sum of more than 2^21 terms")
        return [], rows_in_units(c, nodes[-1].size)
    need(c["index"] < len(images), "index", "not in the data")
    x, y, outputs = images[c["index"]], labels[c["index"]], nodes[-1].size
    need(len(x) == nodes[0].size and hashlib.sha256(struct.pack(f"<{len(x)}f", *x)).hexdigest() == c["input"], "input", "another image")
    need(all(0 <= v <= 1 for v in x), "input", "pixels outside of [0, 1]")
    if "label" in c:
        need(c["label"] < outputs >= 2, "label", "not an output")
        need(c["label"] == y, "label", f"the data say {y}")
        rows = [({c["label"]: ONE, k: -ONE}, 0) for k in range(outputs) if k != c["label"]]
    else:
        need(all(map(any, c["rows"])), "rows", "zeros alone")
        rows = rows_in_units(c, outputs)
    need(c["level"] == "real" or all(n.terms <= 1 << 21 for n in nodes), "level", "a sum of more than 2^21 terms")
    return x, rows


def rows_in_units(c, outputs):
    for r, o in zip(c["rows"], c["offsets"]):
        need(len(r) == outputs, "rows", "wrong length")
        need(all(abs(v) <= 2.0**50 for v in r + [o]), "rows", "a coefficient or offset above 2^50")
    return [({k: units(v) for k, v in enumerate(r) if v}, units(o)) for r, o in zip(c["rows"], c["offsets"])]


def check(line, steps, model, data):
    """None for a line that claims nothing, or the bound of its worst row."""
    c = parse(line)
    if not c["certified"]:
        return None
    x, rows = claim(c, model, data)
    if c["method"] == "bab":
        return follow(Steps(model[0], {**c, "slopes": []}, x, rows), steps)
    proof = Proof(model[0], c, x, rows)
    for thorough in (False, True) if c["method"] in ("crown", "alpha-crown") else (False,):
        bound = proof.prove(thorough) if not thorough else max(bound, proof.prove(thorough))
        if bound > 0 and bound >= units(c["margin"] or 0.0):
            return bound
    why = f"only {decimal(bound)} is proved" if bound > 0 else f"not proved: {decimal(bound)}"
    e = Refused(("margin: " if bound > 0 else "") + why)
    e.bound = bound
    raise e


def follow(proof, steps):
    """The bound of the worst row of a proof by steps."""
    for line in steps:
        try:
            proof.step(parse_step(line))
        except Refused as e:
            raise Refused(f"step {proof.count}: {e}") from None
    need(proof.ended, f"step {proof.count + 1}", "missing")
    return min(proof.bounds.values())


def own_steps(rest, total):
    """Those lines that belong to a certificate with the sum total before them."""
    out = []
    for line in rest:
        if line is None:
            break
        try:
            s = parse_step(line)
            if s["of"] != total:
                break
        except Refused:
            if not any(line.startswith(b'{"format":"epsball-certificate","version":%d,"of":"' % n) for n in (2, 3)):
                break
            s = {"kind": "damaged"}
        out.append(line)
        if s["kind"] == "end":
            break
    return out


def unit(all_lines, at):
    """A line, and the steps that belong to it."""
    try:
        c = parse(all_lines[at])
        steps = own_steps(all_lines[at + 1 :], c["sum"]) if c["method"] == "bab" and c["certified"] else []
    except (Refused, TypeError):
        steps = []
    return all_lines[at], steps


def decimal(bound):
    """20 significant digits, rounded to the nearest."""
    v, exponent = Fraction(abs(bound), ONE), 0
    while v >= 10:
        v, exponent = v / 10, exponent + 1
    while 0 < v < 1:
        v, exponent = v * 10, exponent - 1
    digits = str(round(v * 10**19))
    if len(digits) > 20:
        digits, exponent = digits[:20], exponent + 1
    return f"{'-' if bound < 0 else ''}{digits[0]}.{digits[1:]}e{exponent}"


# --- the command line -------------------------------------------------------------


def lines(path):
    """The lines of a file; of one without a newline at its end, None."""
    parts = open(path, "rb").read().split(b"\n")
    return parts[:-1] + ([None] if parts[-1] else [])


def judge(line, steps, model, data):
    """A verdict, the bound in units or None, and the reason."""
    try:
        if line is None:
            raise Refused("line: no newline at its end")
        bound = check(line, steps, model, data)
        return ("nothing" if bound is None else "valid"), bound, ""
    except Refused as e:
        return "invalid", getattr(e, "bound", None), str(e)


def vectors(folder):
    wrong, model, data = 0, functools.cache(load_model), functools.cache(load_data)
    entries = json.load(open(os.path.join(folder, "vectors.json")))
    for v in entries:
        file, m, d = (os.path.join(folder, v[key]) for key in ("file", "model", "data"))
        verdict, bound, why = judge(*unit(lines(file), v["line"] - 1), model(m), data(d))
        want = "invalid" if v["verdict"] == "unproved" else v["verdict"]
        ok = verdict == want and v.get("reason", "") in why and (bound is None or decimal(bound) == v["margin"])
        if not ok:
            wrong += 1
            print(f"{v['file']}:{v['line']}: {v['name']}: got {verdict} {bound is not None and decimal(bound)} {why}, want {v}")
    print(f"{len(entries)} vectors, {wrong} judged otherwise")
    return wrong > 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("path")
    p.add_argument("--model")
    p.add_argument("--data")
    a = p.parse_args()
    if os.path.isdir(a.path):
        return vectors(a.path)
    if not a.model:
        p.error("want --model, and --data but for certificates of regions")
    model, data, counts, claims = load_model(a.model), a.data and load_data(a.data), {}, set()
    every, i = lines(a.path), 0
    while i < len(every):
        line, steps = unit(every, i)
        i += 1
        verdict, bound, why = judge(line, steps, model, data)
        if verdict == "valid":
            c = parse(line)
            same = (c["index"], c["level"], c["norm"], c.get("eps"), str([c.get(k) for k in ("low", "high", "clauses")]), str([c.get("label"), *c.get("rows", []), c.get("offsets")]).replace("-0.0", "0.0"))
            if same in claims:
                verdict, why = "invalid", "says the same as an earlier line"
            claims.add(same)
        counts[verdict] = counts.get(verdict, 0) + 1
        print(f"line {i}: {verdict} {decimal(bound) if bound is not None else ''} {why}".rstrip(), flush=True)
        i += len(steps)
    print(counts)
    return counts.get("valid", 0) == 0 or "invalid" in counts


if __name__ == "__main__":
    sys.exit(main())
