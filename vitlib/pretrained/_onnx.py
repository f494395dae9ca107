"""Chapter 11: the tensors and nodes of an ONNX file, and nothing else of it.

The onnx package needs a newer protobuf than Colab has and would replace it
there. The file is a protobuf message: a row of fields, each with a number, a
wire type and a value. The numbers are those of onnx.proto.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

GRAPH, NODE, INITIALIZER = 7, 1, 5  # of a model; of a graph
INPUT, OUTPUT, OP_TYPE = 1, 2, 4  # of a node
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of a tensor
FLOAT = 1  # a DATA_TYPE
VARINT, EIGHT, COUNTED, FOUR = 0, 1, 2, 5  # wire types


class Node(NamedTuple):
    """An operation of the graph."""

    op_type: str
    input: list[str]
    output: list[str]


def read_onnx(data: bytes) -> tuple[dict[str, Tensor], list[Node]]:
    """Read the graph's float32 tensors and its nodes.

    Args:
        data: the file.

    Returns:
        The tensors by name, and the nodes in order.

    Raises:
        ValueError: if the bytes are no such message.
    """
    graph = dict(_fields(memoryview(data))).get(GRAPH)
    if not isinstance(graph, memoryview):
        raise ValueError("no ONNX file: it has no graph")
    tensors, nodes = {}, []
    try:
        for number, value in _fields(graph):
            if number == NODE:
                nodes.append(_node(value))
            elif number == INITIALIZER:
                tensors |= _tensor(value)
    except (LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"no ONNX file: {error}") from error
    return tensors, nodes


def _node(data: memoryview) -> Node:
    """Read one node."""
    texts: dict[int, list[str]] = {INPUT: [], OUTPUT: [], OP_TYPE: []}
    for number, value in _fields(data):
        if number in texts:
            texts[number].append(str(value, "utf-8"))  # no number
    return Node(texts[OP_TYPE][0], texts[INPUT], texts[OUTPUT])


def _tensor(data: memoryview) -> dict[str, Tensor]:
    """Read one tensor, if it is of float32."""
    shape, found = [], dict(_fields(data))
    if found[DATA_TYPE] != FLOAT:
        return {}
    for number, value in _fields(data):
        if number == DIMS:
            shape.append(value)
    raw, name = found.get(RAW_DATA, b""), str(found[NAME], "utf-8")
    if len(raw) != 4 * math.prod(shape):
        raise ValueError(f"{name} of {tuple(shape)} has {len(raw)} bytes")
    flat = torch.frombuffer(bytearray(raw), dtype=torch.float32)
    return {name: flat.unflatten(0, shape) if shape else flat[0]}


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        sizes = {EIGHT: 8, FOUR: 4}
        if kind == COUNTED:
            size, at = _varint(data, at)
        elif kind in sizes:
            size = sizes[kind]
        else:
            raise ValueError(f"no ONNX file: wire type {kind}")
        if size > len(data) - at:
            raise ValueError("no ONNX file: it ends within a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, and say where it ends."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("no ONNX file: it ends within a number")
