"""Tests of the baselines, counted by hand on made-up clients and against a plain count of the embedded kind of data."""

from collections.abc import Sequence
import math
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import client_shards
from contracts import schema as schema_lib
from tests.tff_tasks import fakes
from tff_tasks.evaluation import baselines

_PAD, _UNKNOWN = schema_lib.IGNORED_LABEL, schema_lib.UNKNOWN_LABEL
_A, _B, _C = 2, 3, 4
_WORDS = (*schema_lib.SPECIAL_CLASSES, 'a', 'b', 'c')

# A client: its features and its labels, a row an example.
_Client = tuple[list[list[int]], list[list[int]]]


def _schema(classes: Sequence[str] = _WORDS, length: int = 2) -> schema_lib.Schema:
  features, labels = (schema_lib.Feature(name, 'int16', (length,)) for name in ('words', 'next_words'))
  return schema_lib.Schema('next_word', features, labels, tuple(classes))


def _shards(schema: schema_lib.Schema, **splits: Sequence[_Client]) -> mock.Mock:
  """Returns shards with these clients in each split."""
  shards = mock.create_autospec(client_shards.ClientShards, instance=True, schema=schema)
  parts = (schema.feature, schema.label)

  def read(split: str, client: int) -> tuple[np.ndarray, ...]:
    return tuple(
      np.array(rows, part.dtype).reshape(-1, *part.shape)
      for rows, part in zip(splits[split][client], parts, strict=True)
    )

  shards.read.side_effect = read
  shards.num_clients.side_effect = lambda split: len(splits[split])
  shards.clients.side_effect = lambda split: client_shards.ClientIndex(
    np.zeros((len(splits[split]), 16), np.uint8), np.array([len(labels) for _, labels in splits[split]], np.int64)
  )
  return shards


_TRAIN: list[_Client] = [([[_A, _B], [_A, 0]], [[_B, _A], [_B, _PAD]]), ([[_A, _B]], [[_C, _A]])]


class BaselinesTest(parameterized.TestCase):
  def test_by_hand(self) -> None:
    """After a comes b (twice of three), after b comes a; c was never seen before anything, so what is frequent: a."""
    test = [([[_A, _B], [_C, _B]], [[_B, _C], [_A, _C]]), ([[_C, _A]], [[_B, _UNKNOWN]]), ([[_B, 0]], [[_C, _PAD]])]
    figures = baselines.Baselines(_shards(_schema(), train=_TRAIN, test=test)).measure('test')
    self.assertEqual((figures.majority_class, figures.majority_accuracy), ('c', 3 / 6))
    self.assertEqual((figures.bigram_accuracy, figures.bigram_clients), (2 / 6, 2))
    self.assertEqual((figures.baseline, figures.baseline_accuracy), (baselines.MAJORITY, 3 / 6))
    self.assertEqual(figures.coverage, 6 / 7)
    self.assertEqual(figures.in_short, 'majority 50.0%')

  def test_the_stronger_one_is_the_baseline(self) -> None:
    test = [([[_A, _B]] * 2, [[_B, _A]] * 2)]
    figures = baselines.Baselines(_shards(_schema(), train=_TRAIN, test=test)).measure('test')
    self.assertEqual((figures.baseline, figures.baseline_accuracy), (baselines.BIGRAM, 1.0))

  def test_of_as_frequent_ones_the_first_class_follows(self) -> None:
    train = [([[_A, _A], [_A, _A]], [[_C, _B], [_B, _C]])]
    test = [([[_A, _A]], [[_B, _B]])]
    self.assertEqual(baselines.Baselines(_shards(_schema(), train=train, test=test)).measure('test').bigram_accuracy, 1)

  def test_without_a_sequence_there_is_no_bigram(self) -> None:
    schema = schema_lib.Schema(
      'classification',
      schema_lib.Feature('numbers', 'float32', (1,)),
      schema_lib.Feature('label', 'int8', ()),
      ('sit', 'walk'),
    )
    shards = mock.create_autospec(client_shards.ClientShards, instance=True, schema=schema)
    shards.num_clients.return_value = 1
    shards.read.return_value = np.zeros((4, 1), np.float32), np.array([1, 1, 0, _UNKNOWN], np.int8)
    figures = baselines.Baselines(shards).measure('test')
    self.assertEqual(figures, ('majority', 2 / 3, 'walk', 2 / 3, None, None, 3 / 4))
    shards.clients.assert_not_called()

  @parameterized.parameters(([], math.nan), ([([[_A, _A]], [[_PAD, _PAD]])], math.nan), ([([[_A, 0]], [[-2, -1]])], 0))
  def test_without_answers_there_are_no_figures(self, test: list[_Client], coverage: float) -> None:
    figures = baselines.Baselines(_shards(_schema(), train=_TRAIN, test=test)).measure('test')
    self.assertTrue(math.isnan(figures.baseline_accuracy))
    self.assertIsNone(figures.majority_class)
    np.testing.assert_equal(figures.coverage, coverage)
    self.assertEqual(figures.in_short, '')

  def test_without_training_clients(self) -> None:
    figures = baselines.Baselines(_shards(_schema(), train=[], test=_TRAIN)).measure('test')
    self.assertEqual((figures.bigram_accuracy, figures.bigram_clients), (0.0, 0))

  def test_a_training_client_that_cannot_be_used_is_not_counted(self) -> None:
    broken = [*_TRAIN, ([[_A, 77]], [[_C, _C]])]
    test = [([[_A, _B]], [[_B, _A]])]
    figures = baselines.Baselines(_shards(_schema(), train=broken, test=test)).measure('test')
    self.assertEqual((figures.bigram_accuracy, figures.bigram_clients), (1.0, 2))

  def test_a_held_out_client_that_cannot_be_used_ends_it(self) -> None:
    shards = _shards(_schema(), train=_TRAIN, test=[([[_A, 77]], [[_C, _C]])])
    with self.assertRaisesRegex(ValueError, '^Expected to evaluate on client .* of the test split: Expected features'):
      baselines.Baselines(shards).measure('test')

  @parameterized.parameters(('_MOST_CLIENTS', 30), ('_MOST_POSITIONS', 60))
  def test_many_clients_are_sampled(self, limit: str, most: int) -> None:
    shards = _shards(_schema(), train=_TRAIN[1:] * 100, test=_TRAIN)
    with mock.patch.object(baselines, limit, most):
      figures, again = (baselines.Baselines(shards).measure('test') for _ in range(2))
    self.assertEqual(figures.bigram_clients, 30)
    self.assertEqual(figures, again)
    read = [call.args[1] for call in shards.read.call_args_list if call.args[0] == 'train']
    self.assertEqual(read[:30], read[30:])
    self.assertLen({*read}, 30)

  def test_blocks_make_no_difference(self) -> None:
    """Of 10,000 words, against a plain count."""
    stream = np.random.default_rng(3)
    codes = 2 + stream.zipf(1.3, (60, 50)) % 9_998
    following = np.where(stream.random(codes.shape) < 0.5, codes, 2 + stream.zipf(1.3, codes.shape) % 9_998)
    train = [
      (row[:, np.newaxis].tolist(), after[:, np.newaxis].tolist()) for row, after in zip(codes, following, strict=True)
    ]
    schema = _schema(tuple(map(str, range(10_000))), length=1)
    found = []
    for block in (1, 333, 1 << 20):
      with mock.patch.object(baselines, '_BLOCK_POSITIONS', block):
        shards = _shards(schema, train=train, test=train)
        found.append(baselines.Baselines(shards).measure('test').bigram_accuracy)
    pairs, counts = np.unique(np.stack([codes.ravel(), following.ravel()]), axis=1, return_counts=True)
    most = sum(counts[pairs[0] == code].max() for code in np.unique(codes))
    self.assertEqual(found, [most / codes.size] * 3)

  def test_real_shards(self) -> None:
    shards = fakes.write_shards(os.path.join(self.create_tempdir().full_path, 'shards'))
    figures = baselines.Baselines(shards).measure('test')
    self.assertGreater(figures.bigram_accuracy or 0, 1.5 * figures.majority_accuracy)
    self.assertEqual((figures.bigram_clients, figures.coverage), (len(fakes.SIZES), 1.0))


if __name__ == '__main__':
  absltest.main()
