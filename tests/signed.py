"""Artifact files with anything in them and an honest checksum, written without the package."""

import hashlib
import json

import safetensors
import safetensors.numpy


def read(path):
    """The header without its checksum, and the arrays."""
    with safetensors.safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["learned_opt"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del header["sha256"]
    return header, tensors


def sign(header, tensors):
    """With the checksum that belongs to it, if a header of that kind can have one."""
    if not isinstance(header, dict):
        return header
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(tensors):
        x = tensors[key]
        sha.update(f"{key}{x.shape}{x.dtype}".encode())
        sha.update(x.tobytes())
    return {**header, "sha256": sha.hexdigest()}


def write(path, header, tensors):
    """A signed file."""
    text = json.dumps(sign(header, tensors))
    path.write_bytes(safetensors.numpy.save(tensors, metadata={"learned_opt": text}))
