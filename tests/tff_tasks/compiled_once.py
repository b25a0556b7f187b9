"""Runtimes of several tests share what is compiled for a process: compiling takes seconds, a round next to nothing."""

from collections.abc import Iterator
import contextlib
import functools
from unittest import mock

from absl.testing import absltest
import tensorflow as tf
import tensorflow_federated as tff

from tff_tasks.runtime import accumulators
from tff_tasks.runtime import block_training
from tff_tasks.runtime import local

# A few processes: those of one file.
_build_form = functools.lru_cache(16)(
  lambda computation, config: tff.backends.mapreduce.form_utils.get_map_reduce_form_for_computation(
    computation, tf.compat.v1.ConfigProto.FromString(config)
  )
)
_split = functools.lru_cache(16)(accumulators.split)
_BlockWork = block_training.BlockWork  # The class itself: `share` replaces its name.
_build_block_work = functools.lru_cache(32)(lambda form, use_xla: _BlockWork(form, _split(form), use_xla))


def share(test: absltest.TestCase) -> None:
  """Does what `shared` does until the test ends."""
  test.enterContext(shared())


@contextlib.contextmanager
def shared() -> Iterator[None]:
  """Lets `LocalRuntime`s that are built meanwhile take the compiled parts of an earlier one of the same process."""

  def build_form(
    computation: tff.framework.ConcreteComputation, config: tf.compat.v1.ConfigProto
  ) -> tff.backends.mapreduce.MapReduceForm:
    return _build_form(computation, config.SerializeToString())

  def build_block_work(
    form: tff.backends.mapreduce.MapReduceForm, leaves: accumulators.Accumulators, use_xla: bool
  ) -> block_training.BlockWork:
    del leaves  # Those of the form.
    return _build_block_work(form, use_xla)

  with (
    mock.patch.object(tff.backends.mapreduce, 'get_map_reduce_form_for_computation', build_form),
    mock.patch.object(local.block_training, 'BlockWork', build_block_work),
  ):
    yield
