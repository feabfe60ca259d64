"""Parts of networks in plain NumPy and float64."""

import math

import numpy as np

from learned_opt.tasks.problems import ACTIVATIONS


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


ACTIVATION = {
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "tanh": np.tanh,
    "silu": lambda x: x * sigmoid(x),
}


def activation(n):
    return ACTIVATION[ACTIVATIONS[n["activation"]]]


def dense(params, name, rows=None, columns=None):
    return params[name]["w"][:rows, :columns], params[name]["b"][:columns]


def tanh_cut(layers):
    def cut(params, n, problem):
        net, rows = [], None
        for i in range(layers):
            net.append(dense(params, f"dense_{i}" if i else "dense", rows, n["width"]))
            rows = n["width"]
        return [*net, dense(params, f"dense_{layers}", rows)]

    return cut


def affine(layer, x):
    w, b = layer
    return x @ w + b


def two_layers(layers, act, x):
    return affine(layers[1], act(affine(layers[0], x)))


def standardise(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def norm(params, name):
    return params[name]["scale"].reshape(-1), params[name]["offset"].reshape(-1)


def layer_norm(layer, x):
    return standardise(x, -1) * layer[0] + layer[1]


def group_norm(layer, x):
    """Of (batch, height, width, channels); neighbouring channels share a group."""
    channels = x.shape[-1]
    groups = max(count for count in (1, 2, 4) if channels % count == 0)
    grouped = x.reshape(*x.shape[:3], groups, channels // groups)
    return standardise(grouped, (1, 2, 4)).reshape(x.shape) * layer[0] + layer[1]


def conv(layer, x, stride):
    """Of (batch, height, width, channels): "SAME" padding, the odd pixel after."""
    w, b = layer
    sizes = [math.ceil(size / stride) for size in x.shape[1:3]]
    total = [(new - 1) * stride + 3 - old for new, old in zip(sizes, x.shape[1:3], strict=True)]
    pads = [(t // 2, t - t // 2) for t in (max(t, 0) for t in total)]
    x = np.pad(x, [(0, 0), *pads, (0, 0)])
    out = np.empty((len(x), *sizes, w.shape[-1]))
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            window = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            out[:, i, j] = np.tensordot(window, w, 3) + b
    return out


def patches(x, edge):
    rows, columns = x.shape[1] // edge, x.shape[2] // edge
    corners = [(i * edge, j * edge) for i in range(rows) for j in range(columns)]
    cut = [x[:, i : i + edge, j : j + edge].reshape(len(x), -1) for i, j in corners]
    return np.stack(cut, axis=1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(layers, x, heads, causal):
    query, key, value = (affine(layers[name], x) for name in "qkv")
    length, size = x.shape[1:]
    out, wide = np.empty_like(x), size // heads
    for head in range(heads):
        part = slice(head * wide, (head + 1) * wide)
        for place in range(length):
            # A place that must not be seen is not there at all.
            seen = slice(0, place + 1) if causal else slice(None)
            scores = np.einsum("bd,bmd->bm", query[:, place, part], key[:, seen, part])
            weights = softmax(scores / math.sqrt(wide))
            out[:, place, part] = np.einsum("bm,bmd->bd", weights, value[:, seen, part])
    return affine(layers["out"], out)


def prediction_loss(outputs, y):
    """Cross-entropy of labels in nats, or half the mean squared error of values."""
    if y.dtype.kind == "f":
        return 0.5 * np.mean((outputs - y) ** 2)
    top = outputs.max(-1)
    log_sum = top + np.log(np.exp(outputs - top[..., None]).sum(-1))
    return np.mean(log_sum - np.take_along_axis(outputs, y[..., None], -1)[..., 0])
