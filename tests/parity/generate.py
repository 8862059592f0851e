#!/usr/bin/env python3
"""Writes the first 20 training losses of two examples as PyTorch computes them: digits_mlp.json and lenet.json.

    python generate.py [--digits FILE]

Weights come from a small integer generator that the test repeats, so that nothing large is stored: for each parameter in the order
listed below, in row-major order of dlc's layout, a 64-bit linear congruential generator steps once per element,
    state = state * 6364136223846793005 + 1442695040888963407  (mod 2^64), from state = 2024,
and the element is ((state >> 40) / 2^24 * 2 - 1) * limit, rounded to f32, with limit = sqrt(6 / (fan_in + fan_out)) as for Glorot's
uniform distribution and limit = 0 (but the generator still steps) for biases.
Batches are the first 20 * batch images of the digits, in the order of the file, values divided by 16; LeNet sees them enlarged to 28 x 28. The optimizer is Adam as in dlc's standard library
(Keras's placing of epsilon): p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + 1e-7), written out by hand so that the formulas agree.
"""
import argparse, gzip, json, math, os

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20


class Numbers:
    """The generator of the docstring."""

    def __init__(self):
        self.state = 2024

    def param(self, shape, limit):
        n = math.prod(shape)
        out = np.empty(n, np.float64)
        for i in range(n):
            self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
            out[i] = (self.state >> 40) / 2.0**24 * 2 - 1
        return (out * limit).astype(np.float32).reshape(shape)


def params(layers):
    """layers: (name, shape of w); a bias follows each w. Shapes as in dlc: dense [in, out], conv [kh, kw, in, out]."""
    numbers, out = Numbers(), {}
    for name, shape in layers:
        receptive = math.prod(shape[:-2])
        limit = math.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
        out[name + ".w"] = numbers.param(shape, limit)
        out[name + ".b"] = numbers.param(shape[-1:], 0.0)
    return out


def conv(x, w, b):
    """x: [n, h, w, c]; w: [kh, kw, in, out]; valid."""
    y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), b)
    return y.permute(0, 2, 3, 1)


def pool(x):
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def digits_mlp(p, x):
    h = x.reshape(x.shape[0], -1)
    h = torch.relu(h @ p["dense_1.w"] + p["dense_1.b"])
    h = torch.relu(h @ p["dense_2.w"] + p["dense_2.b"])
    return h @ p["dense_3.w"] + p["dense_3.b"]


def lenet(p, x):
    h = pool(conv(x, p["conv_1.w"], p["conv_1.b"]))
    h = pool(conv(h, p["conv_2.w"], p["conv_2.b"]))
    h = h.reshape(h.shape[0], -1)
    h = torch.relu(h @ p["dense_1.w"] + p["dense_1.b"])
    return h @ p["dense_2.w"] + p["dense_2.b"]


def losses(model, initial, x, y, batch, lr, dtype):
    """lr: a function of the step, from 1."""
    p = {k: torch.tensor(v).to(dtype).requires_grad_() for k, v in initial.items()}
    m = {k: torch.zeros_like(v) for k, v in p.items()}
    v2 = {k: torch.zeros_like(v) for k, v in p.items()}
    out = []
    for t in range(1, STEPS + 1):
        at = slice((t - 1) * batch, t * batch)
        xb, yb = torch.tensor(x[at]).to(dtype), torch.tensor(y[at]).long()
        loss = F.cross_entropy(model(p, xb), yb)
        grads = torch.autograd.grad(loss, list(p.values()))
        out.append(float(loss.detach()))
        with torch.no_grad():
            for (k, w), g in zip(p.items(), grads):
                m[k].mul_(0.9).add_(0.1 * g)
                v2[k].mul_(0.999).add_(0.001 * g * g)
                w -= lr(t) * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[k] / (v2[k].sqrt() + 1e-7)
    return out


def enlarged(x):
    """[n, 8, 8, 1] -> [n, 28, 28, 1]: every pixel three times along both axes, and a border of two zeros."""
    return np.pad(x.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2), (0, 0)))


def write(name, model, layers, x, y, batch, lr):
    initial = params(layers)
    result = dict(
        model=name, batch=batch, torch=torch.__version__, layers=[[n, list(s)] for n, s in layers],
        weight_sum={k: float(np.sum(v.astype(np.float64))) for k, v in initial.items()},
        losses=losses(model, initial, x, y, batch, lr, torch.float32),
        losses_f64=losses(model, initial, x, y, batch, lr, torch.float64))
    with open(os.path.join(HERE, name + ".json"), "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    print(name, result["losses"][:3], "..", result["losses"][-1])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--digits", default=os.path.join(HERE, "../../runtime/data/digits/digits.csv.gz"))
    a = ap.parse_args()
    torch.set_num_threads(1)
    table = np.loadtxt(gzip.open(a.digits, "rt"), delimiter=",")
    x = (table[:, :64] / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    y = table[:, 64].astype(np.int64)
    write("digits_mlp", digits_mlp, [("dense_1", (64, 64)), ("dense_2", (64, 32)), ("dense_3", (32, 10))], x, y, 32,
          lambda t: 3e-3 * (t / 40))
    write("lenet", lenet, [("conv_1", (5, 5, 1, 20)), ("conv_2", (5, 5, 20, 50)), ("dense_1", (800, 500)), ("dense_2", (500, 10))],
          enlarged(x), y, 64, lambda t: 1e-3)


if __name__ == "__main__":
    main()
