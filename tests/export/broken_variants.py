"""Variants as a user may get them wrong: each fails in its own way."""

import os
import signal
from typing import Any

from export import parity
from export.variants import base


class _Broken(base.Variant):
  summary = 'broken'
  bounds = parity.Bounds(0.0, None)

  def __init__(self, name: str) -> None:
    self.name = name


class _Crashes(_Broken):
  def convert(self, model: Any, calibration: Any) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b''


class _Refuses(_Broken):
  def convert(self, model: Any, calibration: Any) -> bytes:
    raise ValueError('Expected a smaller model, found this one: take another.')


class _AnotherModel(_Broken):
  def convert(self, model: Any, calibration: Any) -> bytes:
    import tensorflow as tf

    inputs = tf.keras.Input(model.input.shape[1:], batch_size=1, dtype=model.input.dtype)
    outputs = tf.keras.layers.Embedding(20, 16)(inputs)
    return base.build_converter(tf.keras.Model(inputs, outputs)).convert()


class _CannotDescribe(_Broken):
  def convert(self, model: Any, calibration: Any) -> bytes:
    return base.build_converter(model).convert()

  def describe(self, stored: Any) -> str:
    return f'{stored["int4"]} of them are small'


CRASHES = _Crashes('crashes')
REFUSES = _Refuses('refuses')
ANOTHER_MODEL = _AnotherModel('another_model')
CANNOT_DESCRIBE = _CannotDescribe('cannot_describe')
