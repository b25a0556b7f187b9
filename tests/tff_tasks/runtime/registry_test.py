"""Tests that runtimes are found by the names that the flag allows."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tff_tasks import config
from tff_tasks.runtime import local
from tff_tasks.runtime import registry
from tff_tasks.runtime import tff as tff_runtime


class RegistryTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._local = self.enterContext(mock.patch.object(local, 'LocalRuntime', autospec=True))
    self._tff = self.enterContext(mock.patch.object(tff_runtime, 'TffRuntime', autospec=True))

  @parameterized.parameters(True, False)
  def test_finds_the_local_one(self, use_xla: bool) -> None:
    self.assertIs(registry.build_runtime('local', mock.sentinel.process, use_xla), self._local.return_value)
    self._local.assert_called_once_with(mock.sentinel.process, use_xla)
    self._tff.assert_not_called()

  def test_finds_tffs(self) -> None:
    self.assertIs(registry.build_runtime('tff', mock.sentinel.process, True), self._tff.return_value)
    self._tff.assert_called_once_with(mock.sentinel.process)
    self._local.assert_not_called()

  def test_finds_all_that_the_flag_allows(self) -> None:
    for name in config.RUNTIMES:
      registry.build_runtime(name, mock.sentinel.process, False)
    self.assertEqual((self._local.call_count, self._tff.call_count), (1, 1))

  def test_says_which_there_are(self) -> None:
    with self.assertRaisesRegex(ValueError, "^Expected a runtime among local, tff, found 'beam'.$"):
      registry.build_runtime('beam', mock.sentinel.process, False)


if __name__ == '__main__':
  absltest.main()
