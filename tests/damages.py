"""Ways in which a file can be damaged."""

import os


def empty(path):
    path.write_bytes(b"")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def garbage(path):
    path.write_bytes(bytes(range(256)))


def delete(path):
    path.unlink()


def folder(path):
    path.unlink()
    path.mkdir()


def loop(path):
    path.unlink()
    path.symlink_to(path)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


WAYS = (empty, half, flip, garbage, delete, folder, loop, pipe)


def files(path):
    return sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
