"""Hand-designed rules of the ladder in NumPy float64, written from their papers alone.

Each is a function of (parameters, gradients, losses, rates): lists over steps of dicts of arrays,
of losses and of learning rates; it returns the parameters after each step.
"""

import numpy as np

B1, B2, EPS = 0.9, 0.999, 1e-8


def _zeros(tree):
    return {name: np.zeros_like(x) for name, x in tree.items()}


def _dot(a, b):
    return sum(float(np.sum(a[name] * b[name])) for name in a)


def _walk(step):
    """Every step's parameters, of a function of (t from 1, parameters, gradients, loss, rate)."""

    def run(p, grads, losses, rates):
        p, made = {n: np.asarray(x, np.float64) for n, x in p.items()}, []
        moves = step(p)
        for t, (g, loss, rate) in enumerate(zip(grads, losses, rates, strict=True), 1):
            g = {n: np.asarray(x, np.float64) for n, x in g.items()}
            p = moves(t, p, g, float(loss), float(rate))
            made.append(p)
        return made

    return run


@_walk
def prodigy(p0, d0=1e-6):
    """Mishchenko & Defazio 2023, with the safeguard for warm-ups of their code."""
    m, v, s = _zeros(p0), _zeros(p0), _zeros(p0)
    d, r, b3 = d0, 0.0, np.sqrt(B2)

    def moves(t, p, g, loss, rate):
        nonlocal d, r
        r = b3 * r + (d / d0) * d * rate * _dot(g, {n: p0[n] - p[n] for n in p})
        for n in p:
            m[n] = B1 * m[n] + (1 - B1) * d * g[n]
            v[n] = B2 * v[n] + (1 - B2) * (d * g[n]) ** 2
            s[n] = b3 * s[n] + (d / d0) * d * g[n]
        old, d = d, max(d, r / sum(np.abs(s[n]).sum() for n in p))
        return {n: p[n] - old * rate * m[n] / (np.sqrt(v[n]) + d * EPS) for n in p}

    return moves


@_walk
def dadapt_adamw(p0, d0=1e-6):
    """Defazio & Mishchenko 2023, Adam."""
    m, v, s = _zeros(p0), _zeros(p0), _zeros(p0)
    d, r, b = d0, 0.0, np.sqrt(B2)

    def moves(t, p, g, loss, rate):
        nonlocal d, r
        step = d * rate
        r = b * r + (1 - b) * step * _dot(g, {n: s[n] / (np.sqrt(v[n]) + EPS) for n in p})
        for n in p:
            m[n] = B1 * m[n] + (1 - B1) * step * g[n]
            v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
            s[n] = b * s[n] + (1 - b) * step * g[n]
        d = max(d, r / ((1 - b) * sum(np.abs(s[n]).sum() for n in p)))
        return {n: p[n] - m[n] / (np.sqrt(v[n]) + EPS) for n in p}

    return moves


@_walk
def dowg(p0, eps=1e-4):
    """Khaled, Mishchenko & Jin 2023."""
    r2, v = eps, 0.0

    def moves(t, p, g, loss, rate):
        nonlocal r2, v
        far = {n: p[n] - p0[n] for n in p}
        r2 = max(r2, _dot(far, far))
        v += r2 * _dot(g, g)
        return {n: p[n] - r2 / (np.sqrt(v) + eps) * g[n] for n in p}

    return moves


@_walk
def mechanic_adamw(p0, s0=1e-6, lam=0.01, decay=0.01):
    """Cutkosky, Defazio & Mehta 2023, round AdamW that decays what is named "w"."""
    betas = 1 - 0.1 ** np.arange(1, 7)
    r, m, v, s = np.zeros(6), np.zeros(6), np.zeros(6), np.full(6, s0)
    first, second = _zeros(p0), _zeros(p0)

    def moves(t, p, g, loss, rate):
        nonlocal r, m, v, s
        total = s.sum()
        delta = {n: (p0[n] - p[n]) / (total + EPS) for n in p}
        pull = lam * total * np.sqrt(_dot(g, g)) / (np.sqrt(_dot(p, p)) + EPS)
        h = _dot({n: g[n] + pull * p[n] for n in p}, delta)
        h_cut = np.clip(h, -m, m)
        m = np.maximum(betas * m, abs(h) + EPS)
        v = betas**2 * v + h**2
        r = betas * r + h_cut * s
        s = (s0 / 6 * m + np.maximum(r, 0)) / (np.sqrt(v) + EPS)
        after = {}
        for n in p:
            first[n] = B1 * first[n] + (1 - B1) * g[n]
            second[n] = B2 * second[n] + (1 - B2) * g[n] ** 2
            adam = first[n] / (1 - B1**t) / (np.sqrt(second[n] / (1 - B2**t)) + EPS)
            adam = rate * (adam + decay * p[n] * (n == "w"))
            after[n] = p0[n] - s.sum() * (delta[n] + adam)
        return after

    return moves


@_walk
def momo_adam(p0):
    """Schaipp et al. 2024, algorithm 2, with a lower bound of 0."""
    m, v = _zeros(p0), _zeros(p0)
    f = gamma = 0.0

    def moves(t, p, g, loss, rate):
        nonlocal f, gamma
        f = B1 * f + (1 - B1) * loss
        gamma = B1 * gamma + (1 - B1) * _dot(g, p)
        for n in p:
            m[n] = B1 * m[n] + (1 - B1) * g[n]
            v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
        scale = {n: EPS + np.sqrt(v[n] / (1 - B2**t)) for n in p}
        polyak = max(f - gamma + _dot(m, p), 0) / _dot(m, {n: m[n] / scale[n] for n in p})
        tau = min(rate / (1 - B1**t), polyak)
        return {n: p[n] - tau * m[n] / scale[n] for n in p}

    return moves


@_walk
def cocob(p0, alpha=100.0):
    """Orabona & Tommasi 2017, algorithm 2, with L from 1e-8."""
    theta, total, reward = _zeros(p0), _zeros(p0), _zeros(p0)
    most = {n: np.full_like(x, 1e-8) for n, x in p0.items()}

    def moves(t, p, g, loss, rate):
        after = {}
        for n in p:
            most[n] = np.maximum(most[n], np.abs(g[n]))
            total[n] = total[n] + np.abs(g[n])
            reward[n] = np.maximum(reward[n] - (p[n] - p0[n]) * g[n], 0)
            theta[n] = theta[n] - g[n]
            bet = theta[n] / (most[n] * np.maximum(total[n] + most[n], alpha * most[n]))
            after[n] = p0[n] + bet * (most[n] + reward[n])
        return after

    return moves


@_walk
def schedule_free_default(p0):
    """Defazio et al. 2024, AdamW at a constant rate: the points where gradients are taken."""
    v, z, x = _zeros(p0), dict(p0), dict(p0)

    def moves(t, p, g, loss, rate):
        after = {}
        for n in p:
            v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
            z[n] = z[n] - rate * g[n] / (np.sqrt(v[n] / (1 - B2**t)) + EPS)
            x[n] = (1 - 1 / t) * x[n] + z[n] / t
            after[n] = (1 - B1) * z[n] + B1 * x[n]
        return after

    return moves


def ademamix(num_steps, alpha=8.0, b3=0.9999, decay=0.1):
    """Pagliardini, Ablin & Grangier 2024; decays what is named "w"."""

    @_walk
    def run(p0):
        fast, slow, v = _zeros(p0), _zeros(p0), _zeros(p0)

        def moves(t, p, g, loss, rate):
            a = min(1.0, (t - 1) / num_steps)
            # The half-life is linear in t.
            life = [np.log(0.5) / np.log(b) - 1 for b in (B1, b3)]
            beta = 0.5 ** (1 / ((1 - a) * life[0] + a * life[1] + 1))
            after = {}
            for n in p:
                fast[n] = B1 * fast[n] + (1 - B1) * g[n]
                slow[n] = beta * slow[n] + (1 - beta) * g[n]
                v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
                mixed = fast[n] / (1 - B1**t) + a * alpha * slow[n]
                step = mixed / (np.sqrt(v[n] / (1 - B2**t)) + EPS)
                after[n] = p[n] - rate * (step + decay * p[n] * (n == "w"))
            return after

        return moves

    return run


@_walk
def adopt(p0):
    """Taniguchi et al. 2024: the first gradient only starts the average of squares."""
    m, v = _zeros(p0), _zeros(p0)

    def moves(t, p, g, loss, rate):
        if t > 1:
            most = (t - 1) ** 0.25
            for n in p:
                step = np.clip(g[n] / np.maximum(np.sqrt(v[n]), 1e-6), -most, most)
                m[n] = B1 * m[n] + (1 - B1) * step
        for n in p:
            v[n] = g[n] ** 2 if t == 1 else 0.9999 * v[n] + 0.0001 * g[n] ** 2
        return {n: p[n] - rate * m[n] for n in p}

    return moves


@_walk
def nadamw(p0, decay=0.1):
    """AdamW with Nesterov's momentum (Dozat 2016), as optax and PyTorch's AlgoPerf have it."""
    m, v = _zeros(p0), _zeros(p0)

    def moves(t, p, g, loss, rate):
        after = {}
        for n in p:
            m[n] = B1 * m[n] + (1 - B1) * g[n]
            v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
            ahead = B1 * m[n] / (1 - B1 ** (t + 1)) + (1 - B1) * g[n] / (1 - B1**t)
            step = ahead / (np.sqrt(v[n] / (1 - B2**t)) + EPS)
            after[n] = p[n] - rate * (step + decay * p[n] * (n == "w"))
        return after

    return moves


@_walk
def adan(p0, b1=0.02, b2=0.08, b3=0.01, decay=0.1):
    """Xie et al. 2022, algorithm 1 in the letters of the paper, averages corrected."""
    m, v, n2, old = _zeros(p0), _zeros(p0), _zeros(p0), {}

    def moves(t, p, g, loss, rate):
        after = {}
        for n in p:
            change = g[n] - old.get(n, g[n])
            m[n] = (1 - b1) * m[n] + b1 * g[n]
            v[n] = (1 - b2) * v[n] + b2 * change
            n2[n] = (1 - b3) * n2[n] + b3 * (g[n] + (1 - b2) * change) ** 2
            size = np.sqrt(n2[n] / (1 - (1 - b3) ** t)) + EPS
            step = m[n] / (1 - (1 - b1) ** t) + (1 - b2) * v[n] / (1 - (1 - b2) ** t)
            after[n] = p[n] - rate * (step / size + decay * p[n] * (n == "w"))
            old[n] = g[n]
        return after

    return moves


@_walk
def laprop(p0, decay=0.1):
    """Ziyin, Wang & Ueda 2020: divided first, averaged then."""
    m, v = _zeros(p0), _zeros(p0)

    def moves(t, p, g, loss, rate):
        after = {}
        for n in p:
            v[n] = B2 * v[n] + (1 - B2) * g[n] ** 2
            m[n] = B1 * m[n] + (1 - B1) * g[n] / (np.sqrt(v[n] / (1 - B2**t)) + 1e-15)
            after[n] = p[n] - rate * (m[n] / (1 - B1**t) + decay * p[n] * (n == "w"))
        return after

    return moves


@_walk
def adafactor(p0, decay=0.1):
    """Shazeer & Stern 2018, small tensors, no relative step: decay 1 - t^-0.8, clipped at 1."""
    v = _zeros(p0)

    def moves(t, p, g, loss, rate):
        after, beta = {}, 1 - float(t) ** -0.8
        for n in p:
            v[n] = beta * v[n] + (1 - beta) * (g[n] ** 2 + 1e-30)
            step = g[n] / np.sqrt(v[n])
            step = step / max(1.0, np.sqrt(np.mean(step**2)))
            after[n] = p[n] - rate * (step + decay * p[n] * (n == "w"))
        return after

    return moves
