"""Tests the program: what it prints, and what it refuses before anything is simulated."""

import contextlib
import io
import os
import re
import shutil
from typing import Any
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import flagsaver
import pytest

from common import files
from contracts import released_model
from export import guard
from export.simulation import device_pool
from tests.export import fakes as exported
from tests.export.simulation import simulated
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.runtime import start_up

_PATH = 'next_character.train.tflite'


def _forget(module: str) -> None:
  """Removes the flags of a program: those that it requires would be required of other tests in this process."""
  for flag in flags.FLAGS.get_flags_for_module(module):
    delattr(flags.FLAGS, flag.name)


@pytest.mark.slow
class SimulateDevicesTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    from export import simulate_devices

    self.addCleanup(_forget, simulate_devices.__name__)
    self._main = simulate_devices.main
    self.enterContext(mock.patch.object(start_up, 'start_tensorflow'))
    runs.make_small(self)
    self.folder = self.create_tempdir().full_path
    self.run_dir, self.model_dir = self._path('run'), self._path('model')
    self.shards = fakes.write_shards(self._path('shards'), sizes=(2, 9, 5, 7) * 3)
    os.makedirs(self.model_dir)

  def _path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def _train(self, **changes: Any) -> None:
    model, path = simulated.train(
      self.shards, self.run_dir, **{'quantization_bits': 0, 'noise_multiplier': 0.0, 'total_rounds': 2, **changes}
    )
    shutil.move(path, self.model_dir)
    self._write_parity({'train': self._entry()}, model.digest)

  def _entry(self) -> dict[str, Any]:
    return {'path': _PATH, 'form': 'train', **files.describe(os.path.join(self.model_dir, _PATH))}

  def _write_parity(self, variants: dict, digest: str = '') -> None:
    exported.write_parity(self.model_dir, {'variants': variants, 'model': digest})

  def _run(self, **changes: Any) -> str:
    values = {'run_dir': self.run_dir, 'model_dir': self.model_dir, 'devices': 2, **changes}
    with flagsaver.flagsaver(**values), contextlib.redirect_stdout(io.StringIO()) as printed:
      self._main()
    return printed.getvalue()

  def test_prints_how_far_the_model_is_from_the_released_one(self) -> None:
    self._train()
    printed = self._run()
    self.assertRegex(printed, r'\n2 rounds with [0-9]+ clients on 2 devices took .* s, [0-9.]+ clients a second\.\n')
    away, moved = map(float, re.findall(r'[0-9.]*[0-9](?:e-?[0-9]+)?', printed.splitlines()[-1]))
    self.assertLess(away, 1e-6)
    self.assertGreater(moved, 1e-3)
    self.assertStartsWith(
      self._run(total_rounds=1), 'Nothing to compare with: the run released the model of round 2, not of 1.\nRound 1'
    )
    with self.assertRaisesRegex(ValueError, '^Expected --total_rounds of at most 2, which the run has had, found 3'):
      self._run(total_rounds=3)
    self._check_shards()
    self._check_failing_devices()
    self._check_other_models()

  def _check_shards(self) -> None:
    other = fakes.write_shards(self._path('other'), sizes=(3, 4), seed=5)
    with self.assertRaisesRegex(ValueError, '^Expected the data that .* was trained on, found other shards in'):
      self._run(shards_dir=other.path)
    another = exported.write_shards(self._path('another'))
    with self.assertRaisesRegex(ValueError, '^Expected the data that .* was trained on, found other shards in'):
      self._run(shards_dir=another)

  def _check_failing_devices(self) -> None:
    fill: Any = device_pool.DevicePool.fill

    def spoil(pool: device_pool.DevicePool, clients: list[int], block: Any) -> None:
      fill(pool, clients, block)
      block.memory[: len(clients)] += 0.01

    with (
      mock.patch.object(device_pool.DevicePool, 'fill', spoil),
      self.assertRaisesRegex(
        SystemExit, '^error: Expected a model whose distance to the released one is at most 0.0001'
      ),
    ):
      self._run()
    failed = guard.Failed('Expected a device to train its clients, found that its process crashed with SIGKILL')
    with (
      mock.patch.object(device_pool.DevicePool, 'fill', side_effect=failed),
      self.assertRaisesRegex(SystemExit, '^error: Expected a device to train its clients, found .* SIGKILL$'),
    ):
      self._run()

  def _check_other_models(self) -> None:
    entry = {**self._entry(), 'sha256': 'another'}
    self._write_parity({'train': entry}, released_model.load(self.run_dir).digest)
    with self.assertRaisesRegex(ValueError, '^Expected .*train.tflite as it was exported, found none or another file'):
      self._run()
    self._write_parity({'train': entry}, 'another')
    with self.assertRaisesRegex(ValueError, '^Expected an export of the model that .* released last, found one of'):
      self._run()
    self._write_parity({'float32': {'path': 'next_character.float32.tflite', 'form': 'whole'}}, 'another')
    with self.assertRaisesRegex(ValueError, r'^Expected a training file in .*, found none: export with --variants='):
      self._run()
    os.remove(os.path.join(self.model_dir, 'parity.json'))
    with self.assertRaisesRegex(ValueError, '^Expected an export at .*, found none: name a model folder'):
      self._run()


if __name__ == '__main__':
  absltest.main()
