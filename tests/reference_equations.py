"""Losses of networks that solve an equation, in plain NumPy and float64: see `references`."""

import math

import numpy as np


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


def equation_loss(net, x, left, side, start, residual):
    """Of u(t, x) on [0, 1] x [left, 1]; residual: of u, u_t, u_x and u_xx."""
    t, place = x[:, 0], left + (1 - left) * x[:, 1]

    def u(t, place, direction=(0.0, 0.0)):
        return jet(net, np.stack([t, place], axis=1), np.array(direction))

    value, u_x, u_xx = u(t, place, (0.0, 1.0))
    _, u_t, _ = u(t, place, (1.0, 0.0))
    errors = [residual(value, u_t, u_x, u_xx), u(0 * t, place)[0] - start(place)]
    errors += [u(t, np.full_like(t, edge))[0] - side for edge in (left, 1.0)]
    return sum(np.mean(error**2) for error in errors)


def pinn_loss(net, n, x, y, draws, problem):
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - n["viscosity"] * u_xx

    return equation_loss(net, x, -1.0, 0.0, lambda x: -np.sin(math.pi * x), burgers)


def heat_loss(net, n, x, y, draws, problem):
    def heat(u, u_t, u_x, u_xx):
        return u_t - n["diffusivity"] * u_xx

    return equation_loss(net, x, 0.0, 0.0, lambda x: np.sin(math.pi * n["modes"] * x), heat)


def allen_cahn_loss(net, n, x, y, draws, problem):
    def allen_cahn(u, u_t, u_x, u_xx):
        return u_t - n["diffusivity"] * u_xx + 5 * u**3 - 5 * u

    return equation_loss(net, x, -1.0, -1.0, lambda x: x**2 * np.cos(math.pi * x), allen_cahn)


def vibration_loss(net, n, x, y, draws, problem):
    def u(t, place, direction=(0.0, 0.0)):
        return jet(net, np.stack([t, place], axis=1), np.array(direction))

    t, place = x.T
    _, _, u_tt = u(t, place, (1.0, 0.0))
    _, _, u_xx = u(t, place, (0.0, 1.0))
    value, u_t, _ = u(0 * t, place, (1.0, 0.0))
    errors = [u_tt - n["speed"] ** 2 * u_xx, u_t, value - np.sin(math.pi * n["modes"] * place)]
    errors += [u(t, np.full_like(t, edge))[0] for edge in (0.0, 1.0)]
    return sum(np.mean(error**2) for error in errors)
