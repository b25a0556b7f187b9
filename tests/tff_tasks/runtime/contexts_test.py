"""Tests that nothing runs by itself."""

from absl.testing import absltest
import psutil
import tensorflow_federated as tff

from tff_tasks.runtime import contexts


class ContextsTest(absltest.TestCase):
  def test_a_computation_is_refused_and_starts_no_server(self) -> None:
    self.addCleanup(tff.backends.native.set_sync_local_cpp_execution_context)
    contexts.forget_server()
    computation = tff.tensorflow.computation(lambda: 5)
    with self.assertRaisesRegex(RuntimeError, 'Expected a computation to be called by a runtime'):
      computation()
    self.assertNotIn('worker_binary', [child.name() for child in psutil.Process().children()])


if __name__ == '__main__':
  absltest.main()
