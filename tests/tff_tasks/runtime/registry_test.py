"""Tests that runtimes are found by the names that the flag allows."""

from collections.abc import Sequence
import dataclasses
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from tests.tff_tasks import fakes
from tff_tasks import config as config_lib
from tff_tasks.runtime import base
from tff_tasks.runtime import local
from tff_tasks.runtime import registry
from tff_tasks.runtime import runtime
from tff_tasks.runtime import tff as tff_runtime


@dataclasses.dataclass(frozen=True)
class NoRuntime:
  threads: int = 0


@dataclasses.dataclass(frozen=True)
class Picky:
  least: int

  def build(self, process: Any, settings: base.Settings) -> Any:
    return mock.create_autospec(runtime.Runtime, instance=True, built_of=(process, settings))

  def check(self, config: config_lib.Config) -> None:
    if config.clients_per_round < self.least:
      raise ValueError('Expected more clients')


@dataclasses.dataclass(frozen=True)
class Former:
  """Builds what was a runtime before there was `prepare`."""

  def build(self, process: Any, settings: base.Settings) -> Any:
    del process, settings
    return mock.Mock(spec=['initialize', 'next'])


class RegistryTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._local = self.enterContext(mock.patch.object(local, 'LocalRuntime', autospec=True))
    self._tff = self.enterContext(mock.patch.object(tff_runtime, 'TffRuntime', autospec=True))

  @parameterized.parameters(True, False)
  def test_finds_the_local_one(self, use_xla: bool) -> None:
    self.assertIs(registry.build_runtime('local', mock.sentinel.process, use_xla), self._local.return_value)
    self._local.assert_called_once_with(mock.sentinel.process, use_xla, None)
    self._tff.assert_not_called()

  def test_finds_tffs(self) -> None:
    self.assertIs(registry.build_runtime('tff', mock.sentinel.process, True), self._tff.return_value)
    self._tff.assert_called_once_with(mock.sentinel.process)
    self._local.assert_not_called()

  def test_what_was_settled_wins_over_the_flag(self) -> None:
    registry.build_runtime('local', mock.sentinel.process, True, {'use_xla': False}, ['threads=3'])
    self._local.assert_called_once_with(mock.sentinel.process, False, 3)

  @parameterized.parameters(
    ('beam', (), '^Expected --runtime to be one of local, tff, found .beam.'),
    ('local', ('threads=-1',), 'Expected threads of at least 0, found -1: give --runtime_options=threads=2'),
    ('tff', ('threads=1',), "Expected --runtime_options among none for tff, found 'threads'"),
    ('tests.tff_tasks.runtime.registry_test:NoRuntime', (), 'Expected a runtime, found .*: add the method build'),
  )
  def test_what_is_refused(self, name: str, options: Sequence[str], message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      registry.check(dataclasses.replace(fakes.CONFIG, runtime=name, runtime_options=options))

  def test_a_runtime_of_ones_own_looks_at_the_other_flags(self) -> None:
    config = dataclasses.replace(fakes.CONFIG, runtime=f'{__name__}:Picky', runtime_options=['least=3'])
    registry.check(dataclasses.replace(config, clients_per_round=3))
    with self.assertRaisesRegex(ValueError, 'Expected more clients'):
      registry.check(dataclasses.replace(config, clients_per_round=2))
    settings = base.Settings(None, {'seen': 1})
    found: Any = registry.build_runtime(config.runtime, mock.sentinel.process, None, {'seen': 1}, ['least=3'])
    self.assertEqual(found.built_of, (mock.sentinel.process, settings))

  def test_what_is_built_has_the_methods_of_a_runtime(self) -> None:
    message = (
      '^Expected a runtime with initialize, prepare, next, close from .*, found none of prepare, close: add what'
    )
    with self.assertRaisesRegex(ValueError, message):
      registry.build_runtime(f'{__name__}:Former', mock.sentinel.process)


if __name__ == '__main__':
  absltest.main()
