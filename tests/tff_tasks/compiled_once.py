"""Runtimes of several tests share what is compiled for a process: compiling takes seconds, a round next to nothing."""

from collections.abc import Callable, Iterator
import contextlib
import functools
from typing import Any
from unittest import mock

from absl.testing import absltest
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import accumulators
from tff_tasks.runtime import block_training
from tff_tasks.runtime import local
from tff_tasks.runtime import partial_sums
from tff_tasks.runtime import secure_sums

_mapreduce = tff.backends.mapreduce
_REMEMBERED = 32  # The parts of a few processes: those of a file.
# Themselves: `shared` replaces their names.
_BlockWork, _Merge = block_training.BlockWork, partial_sums.Merge


def _cached_by_config(build: Callable[..., Any]) -> Callable[..., Any]:
  """Returns the function of a computation and TensorFlow's config that remembers what it returned."""
  remembered = _cached(lambda computation, config: build(computation, tf.compat.v1.ConfigProto.FromString(config)))
  return lambda computation, config: remembered(computation, config.SerializeToString())


def _cached(build: Callable[..., Any]) -> Any:
  _caches.append(functools.lru_cache(_REMEMBERED)(build))
  return _caches[-1]


_caches: list[Any] = []
_make_plain = _cached(secure_sums.make_plain)
_build_form = _cached_by_config(_mapreduce.get_map_reduce_form_for_computation)
_build_initialization = _cached_by_config(_mapreduce.get_state_initialization_computation)
_split = _cached(accumulators.split)
_build_resident = _cached(local._resident)
_build_block_work = _cached(lambda form, use_xla: _BlockWork(form, _split(form), use_xla))
_build_merge = _cached(lambda form, most_sums: _Merge(form, _split(form)))


def share(test: absltest.TestCase) -> None:
  """Does what `shared` does until the test ends."""
  test.enterContext(shared())


@contextlib.contextmanager
def shared() -> Iterator[None]:
  """Lets `LocalRuntime`s that are built meanwhile take the compiled parts of an earlier one of the same process."""

  # The leaves are those of the form.
  def build_block_work(
    form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators, use_xla: bool
  ) -> block_training.BlockWork:
    del leaves
    return _build_block_work(form, use_xla)

  def build_merge(form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators) -> partial_sums.Merge:
    del leaves
    return _build_merge(form, partial_sums._MAX_SUMS)

  with (
    mock.patch.object(secure_sums, 'make_plain', _make_plain),
    mock.patch.object(_mapreduce, 'get_map_reduce_form_for_computation', _build_form),
    mock.patch.object(_mapreduce, 'get_state_initialization_computation', _build_initialization),
    mock.patch.object(accumulators, 'split', _split),
    mock.patch.object(block_training, 'BlockWork', build_block_work),
    mock.patch.object(partial_sums, 'Merge', build_merge),
    mock.patch.object(local, '_resident', _build_resident),
  ):
    yield


def forget() -> None:
  """Lets what is built from now on be compiled anew, as by another program."""
  for cache in _caches:
    cache.cache_clear()
