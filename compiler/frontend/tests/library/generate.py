#!/usr/bin/env python3
"""Writes what Keras, PyTorch and NumPy give for items of the standard library: cases.json.

    KERAS_BACKEND=torch python generate.py

Each case is a model in the language, the tensors it is given, and its results. Tensors are not stored: element by element a 64-bit
linear congruential generator steps, state = state * 6364136223846793005 + 1442695040888963407 (mod 2^64), from the FNV-1a hash of the
tensor's name; u = (state >> 40) / 2^24 is the element as low + (high - low) u in f32, or rounded down for integers and truth values.
`../library.rs` repeats the generator.
"""
import json, math, os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = []


def numbers(name, shape, low=-1.0, high=1.0, kind="f32"):
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    out = np.empty(math.prod(shape), np.float64)
    for i in range(out.size):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = low + (high - low) * ((state >> 40) / 2.0**24)
    if kind == "f32":
        return out.astype(np.float32).reshape(shape)
    out = np.floor(out).astype(np.int32).reshape(shape)
    return out if kind == "i32" else out.astype(bool)


def array(value):
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.asarray(value, np.float64)


def case(name, text, tensors, results, gradients=True):
    """tensors: name -> (shape, low, high, kind); results: a function of the arrays to a dictionary."""
    full = {k: (tuple(v) + (-1.0, 1.0, "f32")[len(v) - 1:]) for k, v in tensors.items()}
    arrays = {k: numbers(k, *v) for k, v in full.items()}
    found = results({k.replace(".", "_"): v for k, v in arrays.items()})
    CASES.append(dict(
        name=name, text=text, gradients=gradients,
        tensors=[dict(name=k, shape=list(v[0]), low=v[1], high=v[2], kind=v[3]) for k, v in full.items()],
        results={k: [float(f"{x:.8g}") for x in array(v).ravel()] for k, v in found.items()}))


def t(x):
    return torch.tensor(x)


def activations():
    a, k = torch.nn.functional, keras.activations
    table = {
        "relu": (F.relu, ""), "relu6": (F.relu6, ""), "leaky_relu": (lambda x: F.leaky_relu(x, 0.3), ""),
        "elu": (F.elu, ""), "celu": (lambda x: F.celu(x, 0.7), "(0.7)"), "selu": (F.selu, ""), "gelu": (F.gelu, ""),
        "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), ""), "silu": (F.silu, ""), "mish": (F.mish, ""),
        "softplus": (F.softplus, ""), "softsign": (F.softsign, ""), "hard_sigmoid": (F.hardsigmoid, ""),
        "hard_silu": (F.hardswish, ""), "hard_tanh": (F.hardtanh, ""), "log_sigmoid": (F.logsigmoid, ""),
        "tanh_shrink": (F.tanhshrink, ""), "soft_shrink": (F.softshrink, ""), "hard_shrink": (F.hardshrink, ""),
        "threshold": (lambda x: F.threshold(x, 0.1, 0.25), "(0.1, 0.25)"), "sign": (torch.sign, ""),
        "softmax": (lambda x: F.softmax(x, -1), ""), "log_softmax": (lambda x: F.log_softmax(x, -1), ""),
    }
    results = ", ".join(f"y_{n}: f32[batch, 8]" for n in table)
    body = "\n".join(f"    y_{n} = x |> {n}{args}" for n, (_, args) in table.items())
    text = f"model m(x: f32[batch, 8]) -> {results} {{\n{body}\n}}"
    case("activations", text, {"x": ((9, 8), -7, 7)}, lambda v: {f"y_{n}": f(t(v["x"])) for n, (f, _) in table.items()})
    case("gates", """model m(x: f32[batch, 3, 8]) -> a: f32[batch, 3, 4], b: f32[batch, 3, 8], c: f32[batch, 3, 8], d: f32[batch, 3, 8] {
    a = x |> glu
    b = x |> prelu
    c = softmax(x, axis = 1)
    d = logaddexp(x, 2 * x - 1)
}""", {"x": ((4, 3, 8), -3, 3), "prelu_1.slope": ((8,),)}, lambda v: dict(
        a=F.glu(t(v["x"])), b=np.where(v["x"] > 0, v["x"], v["x"] * v["prelu_1_slope"]), c=F.softmax(t(v["x"]), 1),
        d=np.logaddexp(v["x"], 2 * v["x"] - 1)))


def convolutions():
    ops = keras.ops
    def one(name, x, y, call, params, f):
        shape = ", ".join(["batch"] + [str(n) for n in x[1:]])
        out = ", ".join(["batch"] + [str(n) for n in y])
        case(name, f"model m(x: f32[{shape}]) -> y: f32[{out}] {{ y = x |> {call} }}",
             {"x": (x,), **{k: (s,) for k, s in params.items()}}, lambda v: {"y": f(v)})
    one("conv_2d_same_stride", (2, 8, 7, 3), (4, 4, 5), "conv(5, kernel = (3, 2), stride = 2)",
        {"conv_1.w": (3, 2, 3, 5), "conv_1.b": (5,)},
        lambda v: array(ops.conv(v["x"], v["conv_1_w"], strides=2, padding="same")) + v["conv_1_b"])
    one("conv_2d_valid_dilated", (2, 9, 9, 2), (5, 5, 3), "conv(3, kernel = 3, dilation = 2, padding = valid, bias = false)",
        {"conv_1.w": (3, 3, 2, 3)}, lambda v: ops.conv(v["x"], v["conv_1_w"], padding="valid", dilation_rate=2))
    one("conv_2d_groups", (2, 6, 6, 4), (6, 6, 6), "conv(6, kernel = 3, groups = 2)", {"conv_1.w": (3, 3, 2, 6), "conv_1.b": (6,)},
        lambda v: array(ops.conv(v["x"], v["conv_1_w"], padding="same")) + v["conv_1_b"])
    def channels_first(f, x, w, **options):
        """A convolution of PyTorch: kernels [out, in, taps..], channels second."""
        return array(f(t(np.moveaxis(x, -1, 1)), t(np.moveaxis(w, (-1, -2), (0, 1))), **options)).transpose(0, 2, 3, 1)
    one("conv_2d_pad", (2, 6, 8, 3), (3, 4, 4), "conv(4, kernel = (4, 3), stride = 2, pad = 1, bias = false)",
        {"conv_1.w": (4, 3, 3, 4)}, lambda v: channels_first(F.conv2d, v["x"], v["conv_1_w"], stride=2, padding=1))
    one("conv_2d_pads", (2, 5, 6, 2), (5, 8, 3), "conv(3, kernel = 3, pad = (1, 2), bias = false)",
        {"conv_1.w": (3, 3, 2, 3)}, lambda v: channels_first(F.conv2d, v["x"], v["conv_1_w"], padding=(1, 2)))
    one("conv_1d_causal", (2, 9, 4), (9, 3), "conv(3, kernel = 3, dilation = 2, padding = causal, bias = false)",
        {"conv_1.w": (3, 4, 3)}, lambda v: ops.conv(np.pad(v["x"], ((0, 0), (4, 0), (0, 0))), v["conv_1_w"], padding="valid", dilation_rate=2))
    one("conv_3d", (2, 4, 5, 4, 2), (2, 3, 2, 3), "conv(3, kernel = 3, stride = 2, bias = false)", {"conv_1.w": (3, 3, 3, 2, 3)},
        lambda v: ops.conv(v["x"], v["conv_1_w"], strides=2, padding="same"))
    one("depthwise_conv", (2, 7, 6, 3), (4, 3, 6), "depthwise_conv(3, 2, stride = 2, bias = false)",
        {"depthwise_conv_1.w": (3, 3, 3, 2)}, lambda v: ops.depthwise_conv(v["x"], v["depthwise_conv_1_w"], strides=2, padding="same"))
    one("separable_conv", (2, 6, 6, 3), (6, 6, 4), "separable_conv(4, kernel = 3)",
        {"separable_conv_1.depthwise.w": (3, 3, 3, 1), "separable_conv_1.pointwise.w": (1, 1, 3, 4), "separable_conv_1.pointwise.b": (4,)},
        lambda v: array(ops.separable_conv(v["x"], v["separable_conv_1_depthwise_w"], v["separable_conv_1_pointwise_w"], padding="same"))
        + v["separable_conv_1_pointwise_b"])
    one("dense", (3, 4, 5), (4, 2), "dense(2)", {"dense_1.w": (5, 2), "dense_1.b": (2,)}, lambda v: v["x"] @ v["dense_1_w"] + v["dense_1_b"])


def pools():
    ops = keras.ops
    first = lambda x: t(x).permute(0, 3, 1, 2)
    last = lambda x: x.permute(0, 2, 3, 1)
    case("pools", """model m(x: f32[batch, 7, 10, 2]) -> a: f32[batch, 4, 5, 2], b: f32[batch, 3, 4, 2], c: f32[batch, 4, 4, 2],
    d: f32[batch, 2], e: f32[batch, 2], f: f32[batch, 3, 4, 2], g: f32[batch, 3, 4, 2] {
    a = x |> max_pool(3, stride = 2, padding = same)
    b = x |> max_pool((2, 3), padding = valid, stride = (2, 2))
    c = x |> avg_pool(3, stride = (2, 3), padding = same)
    d = x |> global_avg_pool
    e = x |> global_max_pool
    f = x |> adaptive_avg_pool((3, 4))
    g = x |> adaptive_max_pool((3, 4))
}""", {"x": ((2, 7, 10, 2),)}, lambda v: dict(
        a=ops.max_pool(v["x"], 3, 2, "same"), b=ops.max_pool(v["x"], (2, 3), (2, 2), "valid"),
        c=ops.average_pool(v["x"], 3, (2, 3), "same"), d=v["x"].mean((1, 2)), e=v["x"].max((1, 2)),
        f=last(F.adaptive_avg_pool2d(first(v["x"]), (3, 4))), g=last(F.adaptive_max_pool2d(first(v["x"]), (3, 4)))))

    case("pools_pad", """model m(x: f32[batch, 7, 8, 2]) -> a: f32[batch, 4, 4, 2], b: f32[batch, 7, 4, 2] {
    a = x |> max_pool(3, stride = 2, pad = 1)
    b = x |> avg_pool((3, 4), stride = (1, 2), pad = (1, 1))
}""", {"x": ((2, 7, 8, 2),)}, lambda v: dict(
        a=last(F.max_pool2d(first(v["x"]), 3, 2, 1)),
        b=last(F.avg_pool2d(first(v["x"]), (3, 4), (1, 2), (1, 1), count_include_pad=False))))


def norms():
    def group(x, groups, gamma, beta):
        return F.group_norm(t(x).permute(0, 3, 1, 2), groups, t(gamma), t(beta), 1e-3).permute(0, 2, 3, 1)
    case("norms", """model m(x: f32[batch, 3, 4, 6]) -> a: f32[batch, 3, 4, 6], b: f32[batch, 3, 4, 6], c: f32[batch, 3, 4, 6], d: f32[batch, 3, 4, 6],
    e: f32[batch, 3, 4, 6], f: f32[batch, 3, 4, 6], g: f32[batch, 3, 4, 6] {
    a = x |> layer_norm
    b = x |> layer_norm(axes = 2)
    c = x |> group_norm(3)
    d = x |> instance_norm
    e = x |> rms_norm
    f = x |> unit_norm
    g = x |> batch_norm
}""", {"x": ((2, 3, 4, 6), -2, 3), "layer_norm_1.gamma": ((6,),), "layer_norm_1.beta": ((6,),), "layer_norm_2.gamma": ((4, 6),), "layer_norm_2.beta": ((4, 6),),
       "group_norm_1.gamma": ((6,),), "group_norm_1.beta": ((6,),), "instance_norm_1.gamma": ((6,),), "instance_norm_1.beta": ((6,),),
       "rms_norm_1.gamma": ((6,),), "batch_norm_1.gamma": ((6,),), "batch_norm_1.beta": ((6,),),
       "batch_norm_1.moving_mean": ((6,),), "batch_norm_1.moving_variance": ((6,), 0.5, 2)}, lambda v: dict(
        a=F.layer_norm(t(v["x"]), (6,), t(v["layer_norm_1_gamma"]), t(v["layer_norm_1_beta"]), 1e-3),
        b=F.layer_norm(t(v["x"]), (4, 6), t(v["layer_norm_2_gamma"]), t(v["layer_norm_2_beta"]), 1e-3),
        c=group(v["x"], 3, v["group_norm_1_gamma"], v["group_norm_1_beta"]),
        d=group(v["x"], 6, v["instance_norm_1_gamma"], v["instance_norm_1_beta"]),
        e=F.rms_norm(t(v["x"]), (6,), t(v["rms_norm_1_gamma"]), 1e-6), f=F.normalize(t(v["x"]), dim=-1),
        g=F.batch_norm(t(v["x"]).reshape(-1, 6), t(v["batch_norm_1_moving_mean"]), t(v["batch_norm_1_moving_variance"]),
                       t(v["batch_norm_1_gamma"]), t(v["batch_norm_1_beta"]), eps=1e-3)))


def attention():
    def heads(v, prefix, context, **options):
        layer = keras.layers.MultiHeadAttention(2, v[prefix + "_wq"].shape[2])
        layer.build(v["x"].shape, context.shape)
        layer.set_weights([v[prefix + "_" + n] for n in ["wq", "bq", "wk", "bk", "wv", "bv", "wo", "bo"]])
        return layer(v["x"], context, **options)
    def weights(prefix, d, e, h, k):
        return {f"{prefix}.wq": ((d, h, k),), f"{prefix}.wk": ((e, h, k),), f"{prefix}.wv": ((e, h, k),), f"{prefix}.wo": ((h, k, d),),
                f"{prefix}.bq": ((h, k),), f"{prefix}.bk": ((h, k),), f"{prefix}.bv": ((h, k),), f"{prefix}.bo": ((d,),)}
    def additive(v):
        layer = keras.layers.AdditiveAttention()
        layer.build([v["x"].shape, v["u"].shape])
        layer.set_weights([v["additive_scale"]])
        return layer([v["x"], v["u"]])
    case("attention", """model m(x: f32[batch, 5, 6], c: f32[batch, 4, 3], u: f32[batch, 4, 6], mask: bool[batch, 4])
    -> a: f32[batch, 5, 6], b: f32[batch, 5, 6], d: f32[batch, 5, 6], e: f32[batch, 5, 6] {
    a = x |> multi_head_attention(2, causal = true) as self
    b = x |> multi_head_attention(2, key_dim = 4, context = c, mask = mask) as cross
    d = x |> additive_attention(u) as additive
    e = dot_attention(x, u, scale = 0.5)
}""", {"x": ((2, 5, 6),), "c": ((2, 4, 3),), "u": ((2, 4, 6),), "mask": ((2, 4), 0, 2, "bool"), "additive.scale": ((6,),),
       **weights("self", 6, 6, 2, 3), **weights("cross", 6, 3, 2, 4)}, lambda v: dict(
        a=heads(v, "self", v["x"], use_causal_mask=True),
        b=heads(v, "cross", v["c"], attention_mask=v["mask"][:, None, :]), d=additive(v),
        e=F.scaled_dot_product_attention(t(v["x"]), t(v["u"]), t(v["u"]), scale=0.5)))


def shapes():
    def resize(x, how):
        return keras.layers.UpSampling2D((2, 3), interpolation=how)(x)
    case("shapes", """model m(x: f32[batch, 4, 6, 8]) -> a: f32[batch, 8, 24], b: f32[batch, 8, 4, 6], c: f32[batch, 4, 6, 8], d: f32[batch, 6, 9, 8],
    e: f32[batch, 6, 8, 8], f: f32[batch, 6, 8, 8], g: f32[batch, 3, 4, 8], h: f32[batch, 8, 18, 8], i: f32[batch, 8, 18, 8],
    j: f32[batch, 8, 12, 2], k: f32[batch, 6, 32], l: f32[batch, 4, 6, 4], m: f32[batch, 4, 12, 8], n: f32[batch, 4, 6, 8] {
    a = x |> reshape((8, 24))
    b = x |> permute((2, 0, 1))
    c = flip(x, axis = 1)
    d = x |> pad((1, 2), after = 1, value = 0.5)
    e = x |> pad(1, mode = edge)
    f = x |> pad(1, mode = reflect)
    g = x |> crop((1, 1), after = (0, 1))
    h = x |> upsample((2, 3))
    i = x |> upsample_linear((2, 3))
    j = x |> pixel_shuffle(2)
    k = x |> patches(2)
    l = split(x, 2).1
    m = concat(x, 2 * x, axis = 2)
    n = transpose(transpose(x))
}""", {"x": ((1, 4, 6, 8),)}, lambda v: dict(
        a=v["x"].reshape(1, 8, 24), b=v["x"].transpose(0, 3, 1, 2), c=v["x"][:, ::-1],
        d=np.pad(v["x"], ((0, 0), (1, 1), (2, 1), (0, 0)), constant_values=0.5),
        e=np.pad(v["x"], ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"), f=np.pad(v["x"], ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
        g=v["x"][:, 1:, 1:5], h=resize(v["x"], "nearest"), i=F.interpolate(t(v["x"]).permute(0, 3, 1, 2), scale_factor=(2, 3), mode="bilinear").permute(0, 2, 3, 1),
        j=v["x"].reshape(1, 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 8, 12, 2),
        k=v["x"].reshape(1, 2, 2, 3, 2, 8).transpose(0, 1, 3, 2, 4, 5).reshape(1, 6, 32),
        l=v["x"][..., 4:], m=np.concatenate([v["x"], 2 * v["x"]], 2), n=v["x"]))
    case("time_distributed", "model m(x: f32[batch, 3, 4]) -> y: f32[batch, 3, 2] { y = x |> time_distributed(dense(2)) }",
         {"x": ((2, 3, 4),), "time_distributed_1.inner.w": ((4, 2),), "time_distributed_1.inner.b": ((2,),)},
         lambda v: dict(y=v["x"] @ v["time_distributed_1_inner_w"] + v["time_distributed_1_inner_b"]))
    def encoding(time, width):
        at, i = np.arange(time)[:, None], np.arange(width)[None, :]
        angle = at / 10000 ** ((i - i % 2) / width)
        return np.where(i % 2 == 0, np.sin(angle), np.cos(angle))
    case("positional_encoding", "model m(x: f32[batch, 6, 8]) -> y: f32[batch, 6, 8] { y = x + positional_encoding(6, 8) }",
         {"x": ((1, 6, 8),)}, lambda v: dict(y=v["x"] + encoding(6, 8)))


def losses():
    l = keras.losses
    prob = lambda z: F.softmax(t(z), -1).numpy()
    sign = lambda x: np.where(x > 0, 1.0, -1.0).astype(np.float32)
    def smooth(v, labels):
        return F.cross_entropy(t(v["z"]), labels, reduction="none", label_smoothing=0.1)
    n = 6
    names = "ce smoothed dense_labels bce mse mae huber log_cosh kl poisson cosine hinge squared_hinge categorical_hinge focal sigmoid_focal".split()
    results = ", ".join(f"{k}: f32[batch]" for k in names)
    case("losses", f"""fn half(x) = if x > 0 {{ 1.0 }} else {{ 0.0 }}
model m(z: f32[batch, 5], u: f32[batch, 5], label: i32[batch]) -> {results} {{
    ce = softmax_cross_entropy(z, label)
    smoothed = softmax_cross_entropy(z, label, smoothing = 0.1)
    dense_labels = softmax_cross_entropy(z, softmax(u), smoothing = 0.1)
    bce = sigmoid_cross_entropy(z, half(u))
    mse = mse(z, u)
    mae = mae(z, u)
    huber = huber(z, u, 0.7)
    log_cosh = log_cosh(z, u)
    kl = kl(softmax(z), softmax(u))
    poisson = poisson(exp(z), exp(u))
    cosine = cosine_similarity(z, u)
    hinge = hinge(z, 2 * half(u) - 1)
    squared_hinge = squared_hinge(z, 2 * half(u) - 1)
    categorical_hinge = categorical_hinge(z, label)
    focal = focal(z, label)
    sigmoid_focal = sigmoid_focal(z, half(u), gamma = 1.5)
}}""", {"z": ((n, 5), -2, 2), "u": ((n, 5), -2, 2), "label": ((n,), 0, 5, "i32")}, lambda v: dict(
        ce=F.cross_entropy(t(v["z"]), t(v["label"]).long(), reduction="none"), smoothed=smooth(v, t(v["label"]).long()),
        dense_labels=smooth(v, t(prob(v["u"]))), bce=F.binary_cross_entropy_with_logits(t(v["z"]), (t(v["u"]) > 0).float(), reduction="none").mean(-1),
        mse=l.mean_squared_error(v["u"], v["z"]), mae=l.mean_absolute_error(v["u"], v["z"]), huber=l.huber(v["u"], v["z"], 0.7),
        log_cosh=l.log_cosh(v["u"], v["z"]), kl=l.kl_divergence(prob(v["u"]), prob(v["z"])), poisson=l.poisson(np.exp(v["u"]), np.exp(v["z"])),
        cosine=-F.cosine_similarity(t(v["z"]), t(v["u"])), hinge=l.hinge(sign(v["u"]), v["z"]),
        squared_hinge=l.squared_hinge(sign(v["u"]), v["z"]), categorical_hinge=l.categorical_hinge(np.eye(5, dtype=np.float32)[v["label"]], v["z"]),
        focal=l.categorical_focal_crossentropy(np.eye(5, dtype=np.float32)[v["label"]], v["z"], from_logits=True),
        sigmoid_focal=l.binary_focal_crossentropy((v["u"] > 0).astype(np.float32), v["z"], from_logits=True, gamma=1.5)))
    def triplet(v):
        d = np.sqrt(((v["code"][:, None] - v["code"][None]) ** 2).sum(-1) + 1e-12)
        same = v["label"][:, None] == v["label"][None]
        return np.maximum(0, 0.2 + np.where(same, d, -np.inf).max(1) - np.where(same, np.inf, d).min(1))
    case("metric_learning", """model m(code: f32[batch, 3], label: i32[batch], d: f32[batch]) -> e: f32[batch], f: f32[batch] {
    e = triplet(code, label)
    f = contrastive(d, sigmoid(d))
}""", {"code": ((7, 3),), "label": ((7,), 0, 3, "i32"), "d": ((7,), 0, 2)}, lambda v: dict(
        e=triplet(v), f=torch.sigmoid(t(v["d"])) * t(v["d"]) ** 2 + (1 - torch.sigmoid(t(v["d"]))) * F.relu(1 - t(v["d"])) ** 2))


def metrics():
    """The models have no parameters that matter: the training block measures their inputs."""
    m = keras.metrics
    def value(metric, *args):
        metric.update_state(*args)
        return metric.result()
    def of(v):
        y = (v["u"] > 0).astype(np.float32)
        p = 1 / (1 + np.exp(-v["z"][:, 0].astype(np.float64)))
        guess = v["z"].argmax(-1)
        confusion = np.zeros((5, 5))
        np.add.at(confusion, (v["label"], guess), 1)
        flat = lambda metric: value(metric, y.ravel(), v["z"].ravel())
        f1 = lambda: (lambda a, b: 2 * a * b / (a + b))(float(flat(m.Precision(0.0))), float(flat(m.Recall(0.0))))
        return {
            "metric.accuracy": value(m.SparseCategoricalAccuracy(), v["label"], v["z"]),
            "metric.top2": value(m.SparseTopKCategoricalAccuracy(2), v["label"], v["z"]),
            "metric.binary_accuracy": value(m.BinaryAccuracy(threshold=0.0), y, v["z"]),
            "metric.precision": flat(m.Precision(0.0)), "metric.recall": flat(m.Recall(0.0)), "metric.f1": f1(),
            "metric.confusion": confusion, "metric.auc": value(m.AUC(), (v["label"] > 2).astype(np.float32), p),
            "metric.mean_absolute_error": np.abs(v["z"] - v["u"]).mean(), "metric.mean_squared_error": ((v["z"] - v["u"]) ** 2).mean(),
            "metric.root_mean_squared_error": np.sqrt(((v["z"] - v["u"]) ** 2).mean()), "metric.average": v["z"].mean(),
        }
    case("metrics", """model m(z: f32[batch, 5]) -> y: f32[batch, 5] { param w: f32[5] ~ zeros
    y = z + w }
fn half(x) = if x > 0 { 1.0 } else { 0.0 }
train m(u: f32[batch, 5], label: i32[batch]) {
    loss = mse(y, u)
    let p[b] = sigmoid(z[b, 0])
    let late[b] = if label[b] > 2 { 1 } else { 0 }
    metric accuracy(z, label)
    metric top2 = top_k(z, label, n = 2)
    metric binary_accuracy(z, half(u))
    metric precision(z, half(u))
    metric recall(z, half(u))
    metric f1(z, half(u))
    metric confusion(z, label)
    metric auc(p, late)
    metric mean_absolute_error(z, u)
    metric mean_squared_error(z, u)
    metric root_mean_squared_error(z, u)
    metric average(z)
    optimizer = sgd
}""", {"z": ((40, 5), -2, 2), "u": ((40, 5), -2, 2), "label": ((40,), 0, 5, "i32"), "w": ((5,), 0, 0)}, of, gradients=False)


STEPS = 30


def schedules():
    s = keras.optimizers.schedules
    k = lambda schedule: [float(schedule(i)) for i in range(STEPS)]
    def one_cycle():
        o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        r = torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=STEPS, cycle_momentum=False)
        out = []
        for _ in range(STEPS):
            out.append(r.get_last_lr()[0])
            o.step(), r.step()
        return out
    steps = np.arange(1, STEPS + 1)
    for name, call, values in [
        ("constant", "constant", [1.0] * STEPS),
        ("step_decay", "step_decay(7)", k(s.ExponentialDecay(1.0, 7, 0.1, staircase=True))),
        ("exponential", "exponential(0.5, every = 7)", k(s.ExponentialDecay(1.0, 7, 0.5))),
        ("inverse_time", "inverse_time(0.5, every = 4)", k(s.InverseTimeDecay(1.0, 4, 0.5))),
        ("polynomial", "polynomial(2, floor = 0.1)", [float(s.PolynomialDecay(1.0, STEPS, 0.1, 2)(i)) for i in steps]),
        ("cosine", "cosine(floor = 0.1)", [float(s.CosineDecay(1.0, STEPS, 0.1)(i)) for i in steps]),
        ("cosine_restarts", "cosine_restarts(5, lower = 0.8, floor = 0.1)", k(s.CosineDecayRestarts(1.0, 5, 2.0, 0.8, 0.1))),
        ("piecewise", "piecewise([4, 9], [1, 0.5, 0.1])", k(s.PiecewiseConstantDecay([4, 9], [1.0, 0.5, 0.1]))),
        ("one_cycle", "one_cycle", one_cycle()),
        ("linear_warmup", "linear_warmup(10)", np.minimum(1, steps / 10)),
        ("noam", "noam(10)", np.minimum(steps / 10, np.sqrt(10 / steps))),
        ("product", "linear_warmup(4) * exponential(0.9)", np.minimum(1, steps / 4) * 0.9 ** (steps - 1)),
    ]:
        case("schedule_" + name, f"""model m(x: f32[batch, 2]) -> y: f32[batch, 2] {{ param w: f32[2] ~ zeros
    y = x * w }}
train m(t: f32[batch, 2]) {{ loss = mse(y, t); optimizer = sgd(lr = 0.5); schedule = {call} }}""",
             {"x": ((1, 2),), "t": ((1, 2),), "w": ((2,),)}, lambda v: {"lr": 0.5 * np.asarray(values)}, gradients=False)


def optimizers():
    """A layer of tanh and a linear one, 30 steps on the same batch; gradients by PyTorch, updates by Keras or written out."""
    net = """model m(x: f32[batch, 6]) -> y: f32[batch, 3] { y = x |> dense(5) |> tanh |> dense(3) }
train m(t: f32[batch, 3]) {{ loss = mse(y, t)
    optimizer = {} }}""".replace("{ y", "{{ y").replace("dense(3) }", "dense(3) }}")
    tensors = {"x": ((8, 6),), "t": ((8, 3),), "dense_1.w": ((6, 5),), "dense_1.b": ((5,),), "dense_2.w": ((5, 3),), "dense_2.b": ((3,),)}
    names = ["dense_1_w", "dense_1_b", "dense_2_w", "dense_2_b"]
    def loss_of(v, p):
        h = torch.tanh(t(v["x"]).double() @ p[0] + p[1])
        return ((h @ p[2] + p[3] - t(v["t"]).double()) ** 2).mean()
    def run(v, update):
        p = [torch.tensor(v[n].astype(np.float64), requires_grad=True) for n in names]
        out = []
        for step in range(1, STEPS + 1):
            loss = loss_of(v, p)
            out.append(float(loss.detach()))
            grads = torch.autograd.grad(loss, p)
            with torch.no_grad():
                new = update(step, [x.detach() for x in p], [g.detach() for g in grads])
                p = [x.detach().clone().requires_grad_() for x in new]
        return {"loss": out, **{n.replace("_w", ".w").replace("_b", ".b"): x for n, x in zip(names, p)}}
    def by_keras(make):
        def result(v):
            optimizer = make()
            variables = [keras.Variable(v[n].astype(np.float64), dtype="float64") for n in names]
            optimizer.build(variables)
            def update(_, p, g):
                optimizer.apply(list(g), variables)
                return [torch.tensor(np.array(x.numpy() if hasattr(x, "numpy") else x)) for x in variables]
            return run(v, update)
        return result
    o = keras.optimizers
    lr = 0.02
    def clipped(kind, limit):
        def update(_, p, g):
            if kind == "value":
                g = [x.clamp(-limit, limit) for x in g]
            elif kind == "norm":
                g = [x * min(1.0, limit / float(x.norm())) for x in g]
            else:
                total = math.sqrt(sum(float((x**2).sum()) for x in g))
                g = [x * min(1.0, limit / total) for x in g]
            return [x - 0.5 * d for x, d in zip(p, g)]
        return lambda v: run(v, update)
    def max_norm(v):
        def update(_, p, g):
            p = [x - 0.5 * d for x, d in zip(p, g)]
            for i in (0, 2):
                length = p[i].norm(dim=0)
                p[i] = p[i] * (length.clamp(max=0.9) / (1e-7 + length))
            return p
        return run(v, update)
    def torch_sgd(v):
        state = {}
        def update(step, p, g):
            g = [d + 0.01 * x for x, d in zip(p, g)]
            state["v"] = g if step == 1 else [0.9 * m + d for m, d in zip(state["v"], g)]
            return [x - 0.1 * (d + 0.9 * m) for x, m, d in zip(p, state["v"], g)]
        return run(v, update)
    for name, call, result in [
        ("sgd", f"sgd(lr = {lr})", by_keras(lambda: o.SGD(lr))),
        ("momentum", "l2(0.01) |> momentum(lr = 0.1, nesterov = true)", torch_sgd),
        ("adam", f"adam(lr = {lr})", by_keras(lambda: o.Adam(lr))),
        ("adamw", f"adamw(lr = {lr})", by_keras(lambda: o.AdamW(lr))),
        ("amsgrad", f"amsgrad(lr = {lr})", by_keras(lambda: o.Adam(lr, amsgrad=True))),
        ("nadam", f"nadam(lr = {lr})", by_keras(lambda: o.Nadam(lr))),
        ("adamax", f"adamax(lr = {lr})", by_keras(lambda: o.Adamax(lr))),
        ("rmsprop", f"rmsprop(lr = {lr})", by_keras(lambda: o.RMSprop(lr))),
        ("rmsprop_centered", "rmsprop(lr = 0.005, momentum = 0.5, centered = true)",
         by_keras(lambda: o.RMSprop(0.005, momentum=0.5, centered=True))),
        ("adagrad", f"adagrad(lr = {lr})", by_keras(lambda: o.Adagrad(lr))),
        ("adadelta", "adadelta(lr = 1)", by_keras(lambda: o.Adadelta(1.0))),
        ("lion", "lion(lr = 0.002)", by_keras(lambda: o.Lion(0.002))),
        ("lamb", f"lamb(lr = {lr})", by_keras(lambda: o.Lamb(lr))),
        ("adafactor", "adafactor(lr = 0.1)", by_keras(lambda: o.Adafactor(0.1))),
        ("clip_by_value", "clip_by_value(0.02) |> sgd(lr = 0.5)", clipped("value", 0.02)),
        ("clip_by_norm", "clip_by_norm(0.1) |> sgd(lr = 0.5)", clipped("norm", 0.1)),
        ("clip_by_global_norm", "clip_by_global_norm(0.2) |> sgd(lr = 0.5)", clipped("global", 0.2)),
        ("max_norm", "sgd(lr = 0.5)\n    constraint = max_norm(0.9) on \"*.w\"", max_norm),
    ]:
        case("optimizer_" + name, net.format(call), tensors, result, gradients=False)
    def muon(v):
        def orthogonal(g):
            x = g.T if g.shape[0] > g.shape[1] else g
            x = x / (x.norm() + 1e-7)
            for _ in range(6):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            return x.T if g.shape[0] > g.shape[1] else x
        state = [0, 0, 0, 0]
        def update(_, p, g):
            out = []
            for i, (x, d) in enumerate(zip(p, g)):
                if x.ndim == 1:
                    out.append(x - lr * d)
                    continue
                state[i] = 0.95 * state[i] + d
                u = orthogonal(d + 0.95 * state[i])
                out.append(x - 0.01 * 0.2 * math.sqrt(max(x.shape)) * u)
            return out
        return run(v, update)
    case("optimizer_muon", net.format(f"muon(lr = 0.01) on \"*.w\"\n    optimizer = sgd(lr = {lr})"), tensors, muon, gradients=False)


def training_mode():
    def batch_norm(v):
        layer = keras.layers.BatchNormalization(axis=-1)
        layer.build(v["x"].shape)
        zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
        layer.set_weights([v["batch_norm_1_gamma"], v["batch_norm_1_beta"], zeros, ones])
        y = array(layer(v["x"], training=True))
        return {"loss": [((y - v["t"]) ** 2).mean()], "batch_norm_1.moving_mean": layer.moving_mean.detach() if hasattr(layer.moving_mean, "detach") else np.array(keras.ops.convert_to_numpy(layer.moving_mean)),
                "batch_norm_1.moving_variance": np.array(keras.ops.convert_to_numpy(layer.moving_variance))}
    case("train_batch_norm", """model m(x: f32[batch, 4, 3]) -> y: f32[batch, 4, 3] { y = x |> batch_norm }
train m(t: f32[batch, 4, 3]) { loss = mse(y, t); optimizer = sgd(lr = 0) }""",
         {"x": ((5, 4, 3), -1, 3), "t": ((5, 4, 3),), "batch_norm_1.gamma": ((3,),), "batch_norm_1.beta": ((3,),),
          "batch_norm_1.moving_mean": ((3,), 0, 0), "batch_norm_1.moving_variance": ((3,), 1, 1)}, batch_norm)
    case("train_penalties", """model m(x: f32[batch, 4]) -> y: f32[batch, 2] { y = x |> dense(2) |> activity_penalty(l1 = 0.1, l2 = 0.2) }
train m(t: f32[batch, 2]) {
    loss fit = mse(y, t)
    loss decay = 0.3 * sum_squares("*.w") + 0.4 * sum_magnitudes("*.w")
    optimizer = sgd(lr = 0)
}""", {"x": ((5, 4),), "t": ((5, 2),), "dense_1.w": ((4, 2),), "dense_1.b": ((2,),)}, lambda v: (lambda y: {"loss": [
        ((y - v["t"]) ** 2).mean() + 0.1 * np.abs(y).sum() / 5 + 0.2 * (y**2).sum() / 5 + 0.3 * (v["dense_1_w"] ** 2).sum()
        + 0.4 * np.abs(v["dense_1_w"]).sum()]})(v["x"] @ v["dense_1_w"] + v["dense_1_b"]))


def transposed():
    for name, call, shape, kernel, out, kwargs in [
        ("valid", "kernel = 3, stride = 2", (2, 4, 5, 2), (3, 3), (9, 11), dict(kernel_size=3, strides=2, padding="valid")),
        ("same", "kernel = (4, 3), stride = 2, padding = same", (2, 4, 5, 2), (4, 3), (8, 10), dict(kernel_size=(4, 3), strides=2, padding="same")),
        ("even", "kernel = 2, stride = 2", (2, 3, 3, 2), (2, 2), (6, 6), dict(kernel_size=2, strides=2, padding="valid")),
        ("extra", "kernel = 3, stride = 2, padding = same, extra = 1", (2, 3, 4, 2), (3, 3), (6, 8), dict(kernel_size=3, strides=2, padding="same", output_padding=1)),
    ]:
        def result(v, kwargs=kwargs):
            layer = keras.layers.Conv2DTranspose(3, **kwargs)
            layer.build(v["x"].shape)
            layer.set_weights([v["conv_transpose_1_w"], v["conv_transpose_1_b"]])
            return {"y": layer(v["x"])}
        n, h, w, c = shape
        case("conv_transpose_" + name, f"model m(x: f32[batch, {h}, {w}, {c}]) -> y: f32[batch, {out[0]}, {out[1]}, 3] {{ y = x |> conv_transpose(3, {call}) }}",
             {"x": (shape,), "conv_transpose_1.w": (kernel + (3, 2),), "conv_transpose_1.b": ((3,),)}, result)


def recurrent():
    time, k, units = 5, 3, 4
    def weights(name, gates, biases=(1,)):
        return {name + ".wx": ((k, gates * units),), name + ".wh": ((units, gates * units),), name + ".b": (biases[:-1] + (gates * units * biases[-1],),)}
    def given(v, name):
        name = name.replace(".", "_")
        return [v[name + "_wx"], v[name + "_wh"], v[name + "_b"]]
    def one(kind, call, layer, params, states, masked):
        outs = "".join(f", {s}: f32[batch, {units}]" for s in states)
        extra = ", mask: bool[batch, 5]" if masked else ""
        mask = "mask = mask" if masked else ""
        args = ", ".join(a for a in [str(units), call, mask] if a)
        text = f"model m(x: f32[batch, {time}, {k}]{extra}) -> y: f32[batch, {time}, {units}]{outs} {{ let r = x |> {kind}({args}) as r; y = r.y{''.join(f'; {s} = r.{s}' for s in states)} }}"
        tensors = {"x": ((2, time, k),), **({"mask": ((2, time), 0, 2, "bool")} if masked else {}), **params}
        def result(v):
            net = layer()
            net.build(v["x"].shape)
            ours = given(v, "r")
            if kind == "gru":
                ours[2] = ours[2].reshape(2, -1) if "reset_after = false" not in call else ours[2].reshape(-1)
            net.set_weights(ours)
            found = net(v["x"], mask=v["mask"] if masked else None)
            return dict(zip(["y"] + states, found))
        case("_".join([kind, call.replace(" = ", "_") or "plain", "masked" if masked else "whole"]), text, tensors, result)
    both = dict(return_sequences=True, return_state=True)
    for masked in (False, True):
        one("simple_rnn", "", lambda: keras.layers.SimpleRNN(units, **both), weights("r", 1), ["h"], masked)
        one("lstm", "", lambda: keras.layers.LSTM(units, **both), weights("r", 4), ["h", "c"], masked)
        gru = {"r.wx": ((k, 3 * units),), "r.wh": ((units, 3 * units),)}
        one("gru", "", lambda: keras.layers.GRU(units, reset_after=True, **both), {**gru, "r.b": ((2, 3 * units),)}, ["h"], masked)
        one("gru", "reset_after = false", lambda: keras.layers.GRU(units, reset_after=False, **both), {**gru, "r.b": ((1, 3 * units),)}, ["h"], masked)
    for merge in ("concat", "sum", "mul", "ave"):
        width = 2 * units if merge == "concat" else units
        def result(v, merge=merge):
            net = keras.layers.Bidirectional(keras.layers.LSTM(units, return_sequences=True), merge_mode=merge)
            net.build(v["x"].shape)
            net.set_weights(given(v, "both.forward") + given(v, "both.backward"))
            return {"y": net(v["x"], mask=v["mask"])}
        case("bidirectional_" + merge, f"model m(x: f32[batch, {time}, {k}], mask: bool[batch, {time}]) -> y: f32[batch, {time}, {width}] {{ y = x |> bidirectional(lstm(units = {units}), merge = {merge}, mask = mask) as both }}",
             {"x": ((2, time, k),), "mask": ((2, time), 0, 2, "bool"), **weights("both.forward", 4), **weights("both.backward", 4)}, result)
    def conv_lstm(v):
        net = keras.layers.ConvLSTM2D(2, 3, padding="valid", recurrent_activation="sigmoid", return_sequences=True, return_state=True)
        net.build(v["x"].shape)
        net.set_weights([v["r_input_inner_w"], v["r_recurrent_w"], v["r_input_inner_b"]])
        return dict(zip(["y", "h"], net(v["x"])))
    case("conv_lstm", """model m(x: f32[batch, 3, 5, 4, 2]) -> y: f32[batch, 3, 3, 2, 2], h: f32[batch, 3, 2, 2] {
    let r = x |> conv_lstm(2, kernel = 3)
    y = r.y
    h = r.h
}""", {"x": ((2, 3, 5, 4, 2),), "r.input.inner.w": ((3, 3, 2, 8),), "r.input.inner.b": ((8,),), "r.recurrent.w": ((3, 3, 2, 8),)}, conv_lstm)
    def stateful(v):
        net = keras.layers.LSTM(units, return_sequences=True, stateful=True)
        net.build(v["x"].shape)
        net.set_weights(given(v, "s.lstm"))
        losses = []
        for _ in range(3):
            y = array(net(v["x"]))
            losses.append(((y - v["t"]) ** 2).mean())
        return {"loss": losses, "s.h": np.concatenate([y[:, -1], np.zeros((1, units))])}
    case("stateful_lstm", f"""model m(x: f32[batch, {time}, {k}]) -> y: f32[batch, {time}, {units}] {{ y = x |> stateful_lstm({units}, rows = 3) as s }}
train m(t: f32[batch, {time}, {units}]) {{ loss = mse(y, t); optimizer = sgd(lr = 0) }}""",
         {"x": ((2, time, k),), "t": ((2, time, units),), **weights("s.lstm", 4)}, stateful, gradients=False)


def temporal_classification():
    def of(v, times, lengths):
        logp = F.log_softmax(t(v["z"]), -1).transpose(0, 1)
        return F.ctc_loss(logp, t(v["label"]).long(), t(times), t(lengths), reduction="none", zero_infinity=False)
    def result(v):
        full = np.full(4, 7), np.full(4, 3)
        return {"all": of(v, *full), "some": of(v, v["times"], v["lengths"])}
    case("ctc", """model m(z: f32[batch, 7, 5], label: i32[batch, 3], times: i32[batch], lengths: i32[batch]) -> all: f32[batch], some: f32[batch] {
    all = ctc(z, label)
    some = ctc(z, label, times = times, lengths = lengths)
}""", {"z": ((4, 7, 5), -2, 2), "label": ((4, 3), 1, 5, "i32"), "times": ((4,), 6, 8, "i32"), "lengths": ((4,), 1, 4, "i32")}, result)


def main():
    torch.set_num_threads(1)
    for make in [activations, convolutions, pools, norms, attention, shapes, losses, metrics, schedules, optimizers, training_mode,
                 transposed, recurrent, temporal_classification]:
        make()
    with open(os.path.join(HERE, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in CASES) + "\n]\n")
    print(len(CASES), "cases", os.path.getsize(os.path.join(HERE, "cases.json")), "bytes")


main()
