"""Tests of TensorFlow's start, each in a process that has not started it."""

from collections.abc import Mapping
import json
import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests import layout

_SECONDS_TO_HANG = 120
_PRELUDE = """
import importlib.abc, json, os, sys
from tff_tasks.runtime import start_up
"""
_IMPORTS = """
print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))
"""
# TensorFlow reads its environment as it is imported: what is set later is not heard.
_WATCH = """
class Watch(importlib.abc.MetaPathFinder):
  def find_spec(self, name, *unused):
    if name == 'tensorflow':
      print(json.dumps({name: value for name, value in os.environ.items() if name.startswith('TF_')}), flush=True)
      {then}

sys.meta_path.insert(0, Watch())
start_up.start_tensorflow()
"""
_STARTS = (
  _WATCH.replace('{then}', '')
  + """
import psutil
import tensorflow as tf
import tensorflow_federated as tff

try:
  tff.tensorflow.computation(lambda: 5)()
except RuntimeError as error:
  refusal = str(error)
threads = tf.config.threading.get_intra_op_parallelism_threads()
grow = lambda number: tf.while_loop(lambda one: one < 9.0, lambda one: tf.exp(one) + 1.0, [number])
with tf.Graph().as_default() as graph:
  tf.keras.layers.Lambda(grow)(tf.constant(1.0))
(loop,) = (node for node in graph.as_graph_def().node if 'While' in node.op)
children, values = len(psutil.Process().children()), len(loop.attr['T'].list.type)
print(json.dumps([int(tf.add(1, 2)), threads, children, values, refusal]))
"""
)
_ENDS_THERE = _WATCH.replace('{then}', 'os._exit(0)')
_OURS = {'TF_CPP_MIN_LOG_LEVEL': '3', 'TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE': 'false'}


def _run(program: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
  """Runs a program in a process of its own, with nothing of TensorFlow in its environment but what is given."""
  inherited = {name: value for name, value in os.environ.items() if not name.startswith('TF_')}
  return subprocess.run(
    [sys.executable, '-c', _PRELUDE + program],
    cwd=layout.ROOT,
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
    timeout=_SECONDS_TO_HANG,
    check=True,
    env={**inherited, 'PYTHONPATH': str(layout.ROOT), **environment},
  )


class StartUpTest(parameterized.TestCase):
  def test_the_import_alone_imports_nothing_heavy(self) -> None:
    imported = json.loads(_run(_IMPORTS, {}).stdout)
    self.assertContainsSubset(['tff_tasks', 'logging'], imported)
    self.assertNoCommonElements(imported, ['tensorflow', 'tensorflow_federated', 'keras', 'numpy', 'absl'])

  def test_starts_tensorflow_as_training_wants_it(self) -> None:
    result = _run(_STARTS, {})
    environment, (*found, refusal) = map(json.loads, result.stdout.splitlines())
    self.assertEqual(environment, _OURS)
    # Of a layer's loop: its counter, the bound of its turns, and the number.
    self.assertEqual(found, [3, 1, 0, 3], 'A sum, the threads within an operation, child processes, values of a loop.')
    self.assertStartsWith(refusal, 'Expected a computation to be called by a runtime')
    self.assertEqual(result.stderr, '')

  @parameterized.parameters(*_OURS)
  def test_what_the_user_set_stays(self, name: str) -> None:
    for value in ('1', ''):
      self.assertEqual(json.loads(_run(_ENDS_THERE, {name: value}).stdout), {**_OURS, name: value})


if __name__ == '__main__':
  absltest.main()
