"""Every problem's loss once more: plain NumPy in float64, from the papers' formulas.

Nothing is masked here. `cut` takes the small network that a task's numbers describe out of the
arrays (as views, so that what it leaves out is known), and `loss` runs just that network.
jax is here only for random draws, which are data to the formulas, and for walking over trees.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np

from tasks.families import ACTIVATIONS


class Reference(NamedTuple):
    """What is needed to check one problem.

    Attributes:
      cut: (params, numbers, problem) to the parameters that act: nested views, in any structure.
      loss: (cut parameters, numbers, x, y, draws, problem) to the loss.
      draws: (task, key, batch size) to what the problem draws at random, here plain data.
      gradient: (params, numbers, x, draws, problem) to the gradient where it is not the loss's.
    """

    cut: Callable[..., Any]
    loss: Callable[..., float]
    draws: Callable[..., Any] = lambda task, key, batch: ()
    gradient: Callable[..., Any] | None = None


# Parts of networks.


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


# Closed forms.


def everything(params, n, problem):
    return params


def quadratic_loss(net, n, x, y, draws, problem):
    v = n["direction"]
    R = np.eye(len(v)) - 2.0 * np.outer(v, v)
    H = R @ np.diag(n["eigenvalues"]) @ R
    c = n["optimum"] + n["noise"] * math.sqrt(12.0) * (x - 0.5)
    return np.mean([0.5 * (net["p"] - ci) @ H @ (net["p"] - ci) for ci in c])


def rosenbrock_loss(net, n, x, y, draws, problem):
    p = net["p"]
    pairs = [(p[i], p[i + 1]) for i in range(len(p) - 1)]
    return sum(n["steepness"] * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairs)


def saddle_loss(net, n, x, y, draws, problem):
    c, p = n["curvature"], net["p"]
    terms = [
        c[i] * ((p[i] ** 2 - 1) ** 2 / 4 if i % 2 == 0 else p[i] ** 2 / 2) for i in range(len(p))
    ]
    return np.mean(terms)


def influence_matrix(size):
    """The A of Tallec & Ollivier: 1/2 on the diagonal and above it."""
    return 0.5 * np.eye(size) + 0.5 * np.eye(size, k=1)


def influence_loss(net, n, x, y, draws, problem):
    return (net["p"][0] - 1) ** 2 / 2


def influence_gradient(params, n, x, draws, problem):
    return {"p": params["p"] - influence_matrix(len(params["p"])) @ params["p"]}


# Networks that predict y from x.


def linear_cut(params, n, problem):
    return dense(params, "dense")


def linear_loss(net, n, x, y, draws, problem):
    return prediction_loss(affine(net, x.reshape(len(x), -1)), y)


def mlp_cut(params, n, problem):
    width = n["width"]
    layers = [dense(params, "dense", None, width)]
    layers += [dense(params, f"dense_{i}", width, width) for i in range(1, n["depth"])]
    return [*layers, dense(params, f"dense_{problem.max_depth}", width)]


def mlp_loss(net, n, x, y, draws, problem):
    x = x.reshape(len(x), -1)
    for layer in net[:-1]:
        x = activation(n)(affine(layer, x))
    return prediction_loss(affine(net[-1], x), y)


def conv_cut(params, n, problem):
    layers, inputs = [], None
    for i, channels in enumerate(problem.channels):
        layer, on = params["conv3x3" + (f"_{i}" if i else "")], channels * n["width"] // 8
        layers.append((layer["w"][:, :, :inputs, :on], layer["b"][:on]))
        inputs = on
    return [*layers, dense(params, "dense", inputs)]


def conv_loss(net, n, x, y, draws, problem):
    for i, layer in enumerate(net[:-1]):
        x = activation(n)(conv(layer, x, 2 if i else 1))
    return prediction_loss(affine(net[-1], x.mean((1, 2))), y)


def resnet_cut(params, n, problem):
    def numbered(name, i):
        return f"{name}_{i}" if i else name

    def conv_layer(i):
        return params[numbered("conv3x3", i)]["w"], params[numbered("conv3x3", i)]["b"]

    stages, count = [], 0
    for stage in range(len(problem.channels)):
        blocks = []
        for block in range(problem.max_depth):
            first = 2 * count
            if block < n["depth"]:
                norms = [norm(params, numbered("group_norm", i)) for i in (first, first + 1)]
                blocks.append((norms, [conv_layer(i) for i in (first + 1, first + 2)]))
            count += 1
        shortcut = dense(params, numbered("dense", stage - 1)) if stage else None
        stages.append((shortcut, blocks))
    head = dense(params, numbered("dense", len(problem.channels) - 1))
    return conv_layer(0), stages, norm(params, numbered("group_norm", 2 * count)), head


def resnet_loss(net, n, x, y, draws, problem):
    stem, stages, last, head = net
    act = activation(n)
    x = conv(stem, x, 1)
    for stage, (shortcut, blocks) in enumerate(stages):
        for block, (norms, convs) in enumerate(blocks):
            new = stage > 0 and block == 0
            h = conv(convs[0], act(group_norm(norms[0], x)), 2 if new else 1)
            h = conv(convs[1], act(group_norm(norms[1], h)), 1)
            x = (affine(shortcut, x[:, ::2, ::2]) if new else x) + h
    return prediction_loss(affine(head, act(group_norm(last, x)).mean((1, 2))), y)


def blocks_cut(params, n, problem):
    blocks = []
    for i in range(n["depth"]):
        name = f"block_{i}" if i else "block"
        attend = {key: dense(params, f"{name}/~_attend/{key}") for key in "qkv"}
        attend["out"] = dense(params, f"{name}/~_attend/dense")
        mlp = [
            dense(params, f"{name}/dense", None, n["hidden"]),
            dense(params, f"{name}/dense_1", n["hidden"]),
        ]
        norms = [norm(params, f"{name}/layer_norm{end}") for end in ("", "_1")]
        blocks.append((norms, attend, mlp))
    return blocks


def run_blocks(blocks, n, x, heads, causal):
    for norms, attend, mlp in blocks:
        x = x + attention(attend, layer_norm(norms[0], x), heads, causal)
        x = x + two_layers(mlp, activation(n), layer_norm(norms[1], x))
    return x


def vit_cut(params, n, problem):
    return (
        dense(params, "dense"),
        params["~"]["positions"][0],
        blocks_cut(params, n, problem),
        norm(params, "layer_norm"),
        dense(params, "dense_1"),
    )


def vit_loss(net, n, x, y, draws, problem):
    embed, positions, blocks, last, head = net
    x = affine(embed, patches(x, problem.patch)) + positions
    x = run_blocks(blocks, n, x, problem.heads, causal=False)
    return prediction_loss(affine(head, layer_norm(last, x).mean(1)), y)


def transformer_cut(params, n, problem):
    return (
        dense(params, "embedding"),
        params["~"]["positions"][0],
        blocks_cut(params, n, problem),
        norm(params, "layer_norm"),
        dense(params, "head"),
    )


def transformer_loss(net, n, x, y, draws, problem):
    (table, bias), positions, blocks, last, head = net
    x = run_blocks(blocks, n, table[x] + bias + positions, problem.heads, causal=True)
    return prediction_loss(affine(head, layer_norm(last, x)), y)


def mixer_cut(params, n, problem):
    def mlp(i):
        hidden = n["hidden"]
        return [dense(params, f"dense_{i}", None, hidden), dense(params, f"dense_{i + 1}", hidden)]

    norms = [norm(params, "layer_norm" + (f"_{i}" if i else "")) for i in range(2 * n["depth"])]
    mlps = [mlp(2 * i + 1) for i in range(2 * n["depth"])]
    last, head = f"layer_norm_{2 * problem.max_depth}", f"dense_{4 * problem.max_depth + 1}"
    return dense(params, "dense"), norms, mlps, norm(params, last), dense(params, head)


def mixer_loss(net, n, x, y, draws, problem):
    embed, norms, mlps, last, head = net
    x = affine(embed, patches(x, problem.patch))
    for i, (norm_, mlp) in enumerate(zip(norms, mlps, strict=True)):
        h = layer_norm(norm_, x)
        across_places = i % 2 == 0
        h = h.transpose(0, 2, 1) if across_places else h
        h = two_layers(mlp, activation(n), h)
        x = x + (h.transpose(0, 2, 1) if across_places else h)
    return prediction_loss(affine(head, layer_norm(last, x).mean(1)), y)


def gru_cut(params, n, problem):
    width, wide, cell = n["width"], problem.max_width, params["gru"]
    # The arrays of a cell hold its gates side by side, each of `max_width` units.
    inputs = cell["w_i"].reshape(-1, 3, wide)[:, :, :width]
    states = cell["w_h"].reshape(-1, 3, wide)[:width, :, :width]
    biases = cell["b"].reshape(3, wide)[:, :width]
    return dense(params, "dense"), (inputs, states, biases), dense(params, "dense_1", width)


def gru_loss(net, n, x, y, draws, problem):
    (table, bias), (inputs, states, biases), head = net
    x, h, outputs = table[x] + bias, np.zeros((len(x), n["width"])), []
    for t in range(x.shape[1]):
        # Chung et al. 2014, whose z is 1 minus that of Cho et al. 2014.
        z, r = (sigmoid(x[:, t] @ inputs[:, i] + h @ states[:, i] + biases[i]) for i in (0, 1))
        candidate = np.tanh(x[:, t] @ inputs[:, 2] + (r * h) @ states[:, 2] + biases[2])
        h = (1 - z) * h + z * candidate
        outputs.append(affine(head, h))
    return prediction_loss(np.stack(outputs, axis=1), y)


def lstm_cut(params, n, problem):
    width, wide, cell = n["width"], problem.max_width, params["lstm/linear"]
    w = cell["w"].reshape(-1, 4, wide)
    biases = cell["b"].reshape(4, wide)[:, :width]
    inputs, states = w[: problem.embedding, :, :width], w[problem.embedding :][:width, :, :width]
    return dense(params, "dense"), (inputs, states, biases), dense(params, "dense_1", width)


def lstm_loss(net, n, x, y, draws, problem):
    (table, bias), (inputs, states, biases), head = net
    x, outputs = table[x] + bias, []
    h = c = np.zeros((len(x), n["width"]))
    for t in range(x.shape[1]):
        gates = [x[:, t] @ inputs[:, i] + h @ states[:, i] + biases[i] for i in range(4)]
        write, cell, keep, show = gates
        # Forgetting as in Gers et al. 2000, its bias 1 more (Jozefowicz et al. 2015).
        c = sigmoid(keep + 1) * c + sigmoid(write) * np.tanh(cell)
        h = sigmoid(show) * np.tanh(c)
        outputs.append(affine(head, h))
    return prediction_loss(np.stack(outputs, axis=1), y)


# Autoencoders.


def autoencoder_cut(params, n, problem):
    hidden, code = n["hidden"], n["code"]
    return {
        "in": dense(params, "dense", None, hidden),
        "mean": dense(params, "dense_1", hidden, code),
        "spread": dense(params, "dense_2", hidden, code) if problem.variational else None,
        "back": dense(params, f"dense_{2 + problem.variational}", code, hidden),
        "out": dense(params, f"dense_{3 + problem.variational}", hidden),
    }


def autoencoder_loss(net, n, x, y, draws, problem):
    x, act = x.reshape(len(x), -1), activation(n)
    h = act(affine(net["in"], x))
    code, cost = affine(net["mean"], h), 0.0
    if problem.variational:
        mean, log_std = code, 3 * np.tanh(affine(net["spread"], h) / 3)  # kept within (-3, 3)
        divergence = (np.exp(2 * log_std) + mean**2 - 1) / 2 - log_std
        code = mean + np.exp(log_std) * draws[:, : n["code"]]
        cost = divergence.sum() / x.size
    return np.mean((two_layers((net["back"], net["out"]), act, code) - x) ** 2) / 2 + cost


def code_noise(task, key, batch):
    # The key that haiku hands out first; one draw for every code unit, on or off.
    key = hk.transform(hk.next_rng_key).apply({}, key)
    return jax.random.normal(key, (batch, task.problem.max_code))


# The rest.


def factorisation_loss(net, n, x, y, draws, problem):
    a, b, noise = draws
    rank = n["rank"]
    M = a[:, :rank] @ b[:, :rank].T / math.sqrt(rank) + n["noise"] * noise
    errors = []
    for down, right in x:
        i, j = int(down * problem.rows), int(right * problem.columns)
        errors.append(net["u"][i] @ net["v"][j] - M[i, j])
    return np.mean(np.square(errors)) / 2


def factors(task, key, batch):
    # Which normal matrices a seed stands for is the problem's business.
    keys, p = jax.random.split(jax.random.key(task.numbers["seed"]), 3), task.problem
    shapes = (p.rows, p.max_rank), (p.columns, p.max_rank), (p.rows, p.columns)
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def tanh_cut(layers):
    def cut(params, n, problem):
        net, rows = [], None
        for i in range(layers):
            net.append(dense(params, f"dense_{i}" if i else "dense", rows, n["width"]))
            rows = n["width"]
        return [*net, dense(params, f"dense_{layers}", rows)]

    return cut


def jet(net, x, direction):
    """u, du and d2u along a direction: Taylor coefficients pushed through the layers by hand."""
    a, da, dda = x, np.broadcast_to(direction, x.shape), np.zeros_like(x)
    for i, (w, b) in enumerate(net):
        a, da, dda = a @ w + b, da @ w, dda @ w
        if i < len(net) - 1:
            a = np.tanh(a)
            slope = 1 - a**2
            a, da, dda = a, slope * da, slope * dda - 2 * a * slope * da**2
    return a[:, 0], da[:, 0], dda[:, 0]


def pinn_loss(net, n, x, y, draws, problem):
    t, place = x[:, 0], 2 * x[:, 1] - 1

    def u(t, place, direction=(0.0, 0.0)):
        return jet(net, np.stack([t, place], axis=1), np.array(direction))

    value, u_x, u_xx = u(t, place, (0.0, 1.0))
    _, u_t, _ = u(t, place, (1.0, 0.0))
    residual = u_t + value * u_x - n["viscosity"] * u_xx
    start = u(0 * t, place)[0] + np.sin(math.pi * place)
    edges = [u(t, np.full_like(t, edge))[0] for edge in (-1.0, 1.0)]
    return sum(np.mean(error**2) for error in (residual, start, *edges))


def control_loss(net, n, x, y, draws, problem):
    """Gym's Pendulum-v1: g = 10, 50 ms a step, torque at most 2, speed at most 8."""
    angle, speed, costs = 2 * math.pi * x[:, 0] - math.pi, 2 * x[:, 1] - 1, []
    length, mass = n["length"], n["mass"]
    for _ in range(problem.steps):
        seen = np.stack([np.cos(angle), np.sin(angle), speed], axis=1)
        torque = 2 * np.tanh(two_layers(net, np.tanh, seen)[:, 0])
        wrapped = (angle + math.pi) % (2 * math.pi) - math.pi
        costs.append(np.mean(wrapped**2 + speed**2 / 10 + torque**2 / 1000))
        pull = 3 * 10 / (2 * length) * np.sin(angle) + 3 / (mass * length**2) * torque
        speed = np.clip(speed + 0.05 * pull, -8, 8)
        angle = angle + 0.05 * speed
    return np.mean(costs) / (math.pi**2 + 0.1 * 8**2 + 0.001 * 2**2)


def strategy_gradient(params, n, x, draws, problem):
    leaves, treedef = jax.tree.flatten(params)
    edges = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def cost(leaves):
        net = control.cut(jax.tree.unflatten(treedef, leaves), n, problem)
        return control_loss(net, n, x, None, None, problem)

    total = [np.zeros_like(leaf) for leaf in leaves]
    for row in problem.sigma * draws:
        noise = [
            part.reshape(leaf.shape)
            for part, leaf in zip(np.split(row, edges), leaves, strict=True)
        ]
        up = cost([p + e for p, e in zip(leaves, noise, strict=True)])
        down = cost([p - e for p, e in zip(leaves, noise, strict=True)])
        for sum_, e in zip(total, noise, strict=True):
            sum_ += e * (up - down) / (2 * problem.sigma**2) / len(draws)
    return jax.tree.unflatten(treedef, total)


def strategy_noise(task, key, batch):
    # In the order of the flattened parameters, before the factor sigma.
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(task.init, key)))
    noise = np.asarray(jax.random.normal(key, (task.problem.pairs, size)), np.float64)
    # Only parameters of units that are on are moved.
    on = np.arange(task.problem.max_width) < int(task.numbers["width"])
    first = np.concatenate([on, np.tile(on, 3)])
    return noise * np.concatenate([first, [True], on])


def learned_optimizer_loss(net, n, x, y, draws, problem):
    dimension = x.shape[1]
    curvature = n["condition"] ** (-np.arange(dimension) / (dimension - 1))

    def f(q):
        return np.mean(curvature * q**2, axis=1) / 2

    q = 2 * x - 1
    m, first, losses = np.zeros_like(q), f(q) + 1e-6, []
    for _ in range(problem.steps):
        g = curvature * q
        m = 0.9 * m + 0.1 * g
        rms = np.sqrt(np.mean(g**2, axis=1, keepdims=True) + 1e-8)
        features = np.stack([g / rms, m / rms, 0.1 * np.log(rms) + 0 * g], axis=-1)
        q = q - n["rate"] * two_layers(net, ACTIVATION["silu"], features)[..., 0]
        losses.append(np.mean(10 * np.tanh(f(q) / first / 10)))
    return np.mean(losses)


control = Reference(tanh_cut(1), control_loss, strategy_noise, strategy_gradient)
REFERENCES = {
    "quadratic": Reference(everything, quadratic_loss),
    "rosenbrock": Reference(everything, rosenbrock_loss),
    "saddle": Reference(everything, saddle_loss),
    "influence_balancing": Reference(everything, influence_loss, gradient=influence_gradient),
    "linear": Reference(linear_cut, linear_loss),
    "mlp": Reference(mlp_cut, mlp_loss),
    "conv": Reference(conv_cut, conv_loss),
    "resnet": Reference(resnet_cut, resnet_loss),
    "vit": Reference(vit_cut, vit_loss),
    "mixer": Reference(mixer_cut, mixer_loss),
    "autoencoder": Reference(autoencoder_cut, autoencoder_loss),
    "vae": Reference(autoencoder_cut, autoencoder_loss, code_noise),
    "gru": Reference(gru_cut, gru_loss),
    "lstm": Reference(lstm_cut, lstm_loss),
    "transformer": Reference(transformer_cut, transformer_loss),
    "factorisation": Reference(everything, factorisation_loss, factors),
    "pinn": Reference(tanh_cut(2), pinn_loss),
    "control": control,
    "learned_optimizer": Reference(tanh_cut(1), learned_optimizer_loss),
}
"""By the problem's name."""
