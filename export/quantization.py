"""Integers that stand for numbers at the input or output of a file: (integer - zero_point) * scale. A leaf."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Quantization(NamedTuple):
  """How the integers of an input or output read.

  Attributes:
    dtype: Of the integers, such as `int8`.
    scale: What a step of one is worth.
    zero_point: The integer that stands for 0.
  """

  dtype: str
  scale: float
  zero_point: int

  def quantize(self, numbers: np.ndarray) -> np.ndarray:
    """Returns the nearest integers; numbers out of range become the least or the largest one."""
    limits = np.iinfo(self.dtype)
    steps = np.rint(numbers.astype(np.float64) / self.scale) + self.zero_point
    return np.clip(steps, limits.min, limits.max).astype(self.dtype)

  def dequantize(self, integers: np.ndarray) -> np.ndarray:
    """Returns the float32 numbers that integers stand for."""
    return ((integers.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)


def of(end: Mapping[str, Any]) -> Quantization | None:
  """Returns how an input or output is quantized; None if it holds the numbers themselves, as codes of a vocabulary.

  Args:
    end: What LiteRT says of it.
  """
  dtype, (scale, zero_point) = np.dtype(end['dtype']), end['quantization']
  return Quantization(dtype.name, float(scale), int(zero_point)) if dtype.kind in 'iu' and scale else None


def encode(features: np.ndarray, end: Mapping[str, Any]) -> np.ndarray:
  """Returns features as an input takes them.

  Args:
    features: Numbers or codes.
    end: What LiteRT says of the input.
  """
  quantized = of(end)
  return quantized.quantize(features) if quantized else features.astype(end['dtype'])


def describe(quantized: Mapping[str, Quantization]) -> dict[str, dict[str, Any]]:
  """Returns what files say of the input and output of integers, JSON-ready: `{'input': {'dtype', 'scale', ...}}`."""
  return {kind: each._asdict() for kind, each in quantized.items()}
