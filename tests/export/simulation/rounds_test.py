"""Tests that rounds on devices lead to the model that the run released."""

from collections.abc import Iterator
import contextlib
import dataclasses
import io
import os
from typing import Any
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import released_model
from export.on_device import weights
from export.simulation import comparison
from export.simulation import device_pool
from export.simulation import rounds as rounds_lib
from tests.export.simulation import simulated
from tests.tff_tasks import fakes
from tests.tff_tasks import runs
from tff_tasks.population import availability
from tff_tasks.training import checkpoints

_CAPABILITIES = '[classes.fast]\nshare = 0.5\nepochs = 3\n[classes.slow]\nshare = 0.5\nbatch_size = 3\nexamples = 0.5\n'


class SimulationTest(parameterized.TestCase):
  def setUp(self) -> None:
    super().setUp()
    runs.make_small(self)
    self.folder, self.printed = self.create_tempdir().full_path, io.StringIO()
    self.shards = fakes.write_shards(os.path.join(self.folder, 'shards'), sizes=(2, 9, 5, 7) * 3)

  def _train(self, **changes: Any) -> tuple[Any, str, str]:
    run_dir = os.path.join(self.folder, 'run')
    return *simulated.train(self.shards, run_dir, **changes), run_dir

  def _simulate(self, run_dir: str, path: str, rounds: int = 4) -> rounds_lib.Result:
    saved, config = rounds_lib.load(run_dir)
    with contextlib.closing(rounds_lib.Simulation(saved, config, self.shards, path, 2)) as run:
      return run.run(rounds, self.printed)

  @contextlib.contextmanager
  def _longer_steps(self, factor: float) -> Iterator[None]:
    begin = device_pool.DevicePool.begin_round
    with mock.patch.object(
      device_pool.DevicePool, 'begin_round', lambda pool, weights, rate: begin(pool, weights, factor * rate)
    ):
      yield

  def _compare(self, found: rounds_lib.Result, released: released_model.ReleasedModel) -> comparison.Comparison:
    return comparison.compare(found.weights, released.weights, found.initial, found.is_rounded)

  def test_leads_to_the_released_model_and_other_steps_do_not(self) -> None:
    released, path, run_dir = self._train(quantization_bits=0, noise_multiplier=0.0)
    found = self._simulate(run_dir, path)
    self.assertGreater(found.clients, 8)
    self.assertGreater(weights.difference(found.weights, found.initial), 1e-2)
    self.assertLess(weights.difference(found.weights, released.weights), 1e-6)
    self.assertTrue(self._compare(found, released).is_close)
    with self._longer_steps(1.1):
      other = self._compare(self._simulate(run_dir, path), released)
    self.assertFalse(other.is_close, other)
    saved, config = rounds_lib.load(run_dir)
    larger = dataclasses.replace(config, client_batch_size=5)
    with self.assertRaisesRegex(
      ValueError, '^Expected a training file for batches of at least 5, .*, found one for 4 at .*: export the run again'
    ):
      rounds_lib.Simulation(saved, larger, self.shards, path, 1)

  def test_clients_that_cannot_take_part(self) -> None:
    self.shards = fakes.write_shards(os.path.join(self.folder, 'others'), sizes=(2, 9, 0, 7) * 3)
    fakes.damage(self.shards, 1)
    released, path, run_dir = self._train(
      quantization_bits=0, noise_multiplier=0.0, clip_norm=0.0, on_client_error='skip'
    )
    found = self._simulate(run_dir, path)
    self.assertTrue(self._compare(found, released).is_close)
    self.assertIn('Skipped client ', self.printed.getvalue())
    fill: Any = device_pool.DevicePool.fill

    def spoil(pool: device_pool.DevicePool, clients: list[int], block: Any) -> None:
      fill(pool, clients, block)
      block.memory[0] = np.nan

    with mock.patch.object(device_pool.DevicePool, 'fill', spoil):
      other = self._simulate(run_dir, path)
    self.assertLess(other.clients, found.clients)
    self.assertTrue(all(np.isfinite(weight).all() for weight in other.weights))
    with (
      self._longer_steps(1e9),
      self.assertRaisesRegex(
        ValueError, '^Expected finite weights .* after round [0-9], found others: devices took other'
      ),
    ):
      self._simulate(run_dir, path)
    saved, config = rounds_lib.load(run_dir)
    with (
      mock.patch.object(rounds_lib, 'load', return_value=(saved, dataclasses.replace(config, on_client_error='stop'))),
      self.assertRaisesRegex(ValueError, ' that cannot: .*; repeat the command when that is repaired, or with a run'),
    ):
      self._simulate(run_dir, path)

  def test_with_other_parts_of_a_run(self) -> None:
    capabilities = os.path.join(self.folder, 'classes.toml')
    with open(capabilities, 'w') as file:
      file.write(_CAPABILITIES)
    released, path, run_dir = self._train(
      quantization_bits=0,
      noise_multiplier=0.0,
      clip_norm=0.0,
      capabilities=capabilities,
      weighting='examples',
      client_learning_rate_schedule='linear',
      sampling='fixed',
      server_optimizer='adam',
      server_learning_rate=0.01,
    )
    found = self._simulate(run_dir, path)
    self.assertGreater(weights.difference(found.weights, found.initial), 1e-2)
    self.assertLess(weights.difference(found.weights, released.weights), 1e-5)
    self.assertTrue(self._compare(found, released).is_close)
    with open(capabilities, 'a') as file:
      file.write('epochs = 5\n')
    with self.assertRaisesRegex(ValueError, '^Expected the file of --capabilities that the run had, found another at'):
      self._simulate(run_dir, path)
    os.remove(capabilities)
    with self.assertRaisesRegex(ValueError, '^Expected the file of --capabilities that the run had, found none at'):
      self._simulate(run_dir, path)

  def test_codec_and_noise_are_those_of_the_run(self) -> None:
    released, path, run_dir = self._train()
    found = self._simulate(run_dir, path)
    # Rounding to the grid of the codec may fall another way here and there. Another noise would show everywhere.
    differences = [np.abs(one - other) for one, other in zip(found.weights, released.weights, strict=True)]
    self.assertLess(np.mean([(each > 1e-5).mean() for each in differences]), 0.2)
    self.assertLess(max(each.max() for each in differences), 0.01)
    self.assertGreater(weights.difference(found.weights, found.initial), 0.05)
    compared = self._compare(found, released)
    self.assertTrue(compared.is_close, compared)


class LoadTest(parameterized.TestCase):
  def test_another_availability(self) -> None:
    path = self.create_tempfile(content='client,time\n').full_path
    found = mock.Mock()
    found.name = 'another'
    with (
      mock.patch.object(availability, 'read', return_value=found),
      self.assertRaisesRegex(ValueError, '^Expected the file of --availability that the run had, found another at'),
    ):
      rounds_lib._read_tables(dataclasses.replace(fakes.CONFIG, availability=path), mock.Mock(), fakes.PLAN)
    os.remove(path)
    with self.assertRaisesRegex(ValueError, '^Expected the file of --availability that the run had, found none at'):
      rounds_lib._read_tables(dataclasses.replace(fakes.CONFIG, availability=path), mock.Mock(), fakes.PLAN)

  def test_a_run_without_a_checkpoint(self) -> None:
    with self.assertRaisesRegex(ValueError, '^Expected a checkpoint in .*, found none: name the whole run directory'):
      rounds_lib.load(self.create_tempdir().full_path)

  @parameterized.parameters(
    ({'algorithm': 'scaffold'}, '--algorithm=fed_avg'),
    ({'client_optimizer': 'adam'}, '--client_optimizer=sgd'),
    ({'max_gradient_norm': 1.0}, 'no --max_gradient_norm'),
  )
  def test_what_devices_cannot_do(self, changes: dict, expected: str) -> None:
    with self.assertRaisesRegex(ValueError, f'^Expected a run with {expected}, found another: '):
      rounds_lib._check(dataclasses.replace(fakes.CONFIG, **changes))

  def test_a_run_with_two_secrets(self) -> None:
    history = fakes.history()
    twice = dataclasses.replace(history, segments=history.segments * 2)
    saved = mock.Mock(history=twice)
    with (
      mock.patch.object(checkpoints, 'load_last', return_value=saved),
      self.assertRaisesRegex(ValueError, '^Expected a run whose rounds have one secret, found one .* branched'),
    ):
      rounds_lib.load('run')


if __name__ == '__main__':
  absltest.main()
