"""Devices: meshes over all of them, and types of arrays that are spread over a mesh."""
