"""A face recognition network small enough to write by hand: 16 x 16 means of a 112 x 112 picture, flattened, one matrix to 128.

ONNX is protobuf, and protobuf is tags, lengths and bytes: enough of it here that no package is needed to make a stand-in file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE, POOL, DIM = 112, 16, 128
N_IN = 3 * (SIDE // POOL) ** 2


def matrix(seed: int = 0) -> np.ndarray:
    """The network's matrix: float32 (147, 128)."""
    return np.random.default_rng(seed).standard_normal((N_IN, DIM)).astype(np.float32)


def expected(aligned_rgb: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What the network gives for an aligned face uint8 (112, 112, 3) RGB, by numpy alone: float64 (128,)."""
    cells = aligned_rgb.astype(np.float64).reshape(SIDE // POOL, POOL, SIDE // POOL, POOL, 3).mean((1, 3))
    return cells.transpose(2, 0, 1).reshape(-1) @ weights


def write(path: Path, weights: np.ndarray) -> Path:
    """The network as an ONNX file (opset 11)."""
    nodes = [_node("AveragePool", ["data"], ["pooled"], {"kernel_shape": [POOL, POOL], "strides": [POOL, POOL]}),
             _node("Flatten", ["pooled"], ["flat"], {"axis": 1}), _node("MatMul", ["flat", "w"], ["fc1"], {})]
    tensor = _ints(1, weights.shape) + _int(2, 1) + _bytes(8, b"w") + _bytes(9, weights.tobytes())
    graph = b"".join(_bytes(1, n) for n in nodes) + _bytes(2, b"standin") + _bytes(5, tensor)
    graph += _bytes(11, _value("data", (1, 3, SIDE, SIDE))) + _bytes(12, _value("fc1", (1, DIM)))
    path.write_bytes(_int(1, 6) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _int(2, 11)))
    return path


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _ints(field: int, values) -> bytes:
    return b"".join(_int(field, v) for v in values)


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _node(op: str, inputs: list[str], outputs: list[str], attributes: dict) -> bytes:
    out = b"".join(_bytes(1, i.encode()) for i in inputs) + b"".join(_bytes(2, o.encode()) for o in outputs)
    out += _bytes(4, op.encode())
    for name, value in attributes.items():
        body = _ints(8, value) + _int(20, 7) if isinstance(value, list) else _int(3, value) + _int(20, 2)
        out += _bytes(5, _bytes(1, name.encode()) + body)
    return out


def _value(name: str, shape) -> bytes:
    dims = b"".join(_bytes(1, _int(1, d)) for d in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _int(1, 1) + _bytes(2, dims)))
