"""Networks that predict y from x, in plain NumPy and float64: see `references`."""

import numpy as np
from reference_layers import (
    activation,
    affine,
    attention,
    conv,
    dense,
    group_norm,
    layer_norm,
    norm,
    patches,
    prediction_loss,
    sigmoid,
    two_layers,
)


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


def norm_mlp_cut(params, n, problem):
    names = [f"_{i}" if i else "" for i in range(n["depth"])]
    layers = [(dense(params, f"dense{i}"), norm(params, f"layer_norm{i}")) for i in names]
    return [*layers, dense(params, f"dense_{problem.max_depth}")]


def norm_mlp_loss(net, n, x, y, draws, problem):
    x = x.reshape(len(x), -1)
    for layer, scales in net[:-1]:
        x = activation(n)(layer_norm(scales, affine(layer, x)))
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


def norm_conv_cut(params, n, problem):
    layers = []
    for i in range(len(problem.channels)):
        end = f"_{i}" if i else ""
        conv = params["conv3x3" + end]
        layers.append(((conv["w"], conv["b"]), norm(params, "group_norm" + end)))
    return [*layers, dense(params, "dense")]


def norm_conv_loss(net, n, x, y, draws, problem):
    for i, (layer, scales) in enumerate(net[:-1]):
        x = activation(n)(group_norm(scales, conv(layer, x, 2 if i else 1)))
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


def skip_init_cut(params, n, problem):
    def conv_layer(i):
        layer = params[f"conv3x3_{i}" if i else "conv3x3"]
        return layer["w"], layer["b"]

    stages, most = [], problem.max_depth
    for stage in range(len(problem.channels)):
        blocks = []
        for block in range(n["depth"]):
            first = 2 * (stage * most + block) + 1
            alpha = params["~"][f"alpha_{stage}_{block}"]
            blocks.append((conv_layer(first), conv_layer(first + 1), alpha))
        shortcut = dense(params, f"dense_{stage - 1}" if stage > 1 else "dense") if stage else None
        stages.append((shortcut, blocks))
    return conv_layer(0), stages, dense(params, f"dense_{len(problem.channels) - 1}")


def skip_init_loss(net, n, x, y, draws, problem):
    stem, stages, head = net
    act = activation(n)
    x = conv(stem, x, 1)
    for stage, (shortcut, blocks) in enumerate(stages):
        for block, (first, second, alpha) in enumerate(blocks):
            new = stage > 0 and block == 0
            h = conv(second, act(conv(first, act(x), 2 if new else 1)), 1)
            x = (affine(shortcut, x[:, ::2, ::2]) if new else x) + alpha * h
    return prediction_loss(affine(head, act(x).mean((1, 2))), y)


def deep_sets_cut(params, n, problem):
    width = n["width"]
    layers = [dense(params, "dense", None, width)]
    layers += [dense(params, f"dense_{i}", width, width) for i in (1, 2)]
    return [*layers, dense(params, "dense_3", width)]


def deep_sets_loss(net, n, x, y, draws, problem):
    act, outputs = activation(n), []
    for elements in x:
        mean = np.mean([act(affine(net[1], act(affine(net[0], e)))) for e in elements], axis=0)
        outputs.append(affine(net[3], act(affine(net[2], mean))))
    return prediction_loss(np.stack(outputs), y)


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


def tied_transformer_cut(params, n, problem):
    table, positions = params["~"]["embedding"], params["~"]["positions"][0]
    return table, positions, blocks_cut(params, n, problem), norm(params, "layer_norm")


def tied_transformer_loss(net, n, x, y, draws, problem):
    table, positions, blocks, last = net
    x = run_blocks(blocks, n, 4.0 * table[x] + positions, problem.heads, causal=True)
    return prediction_loss(layer_norm(last, x) @ table.T, y)


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


def lru_cut(params, n, problem):
    gates = [dense(params, name, None, n["width"]) for name in ("keep", "write", "show")]
    return dense(params, "embedding"), gates, dense(params, "head", n["width"])


def lru_loss(net, n, x, y, draws, problem):
    (table, bias), (keep, write, show), head = net
    x, h, outputs = table[x] + bias, np.zeros((len(x), n["width"])), []
    for t in range(x.shape[1]):
        a, g = sigmoid(affine(keep, x[:, t]) + 1), affine(show, x[:, t])
        h = a * h + (1 - a) * affine(write, x[:, t])
        outputs.append(affine(head, h * g * sigmoid(g)))
    return prediction_loss(np.stack(outputs, axis=1), y)
