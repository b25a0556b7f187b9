"""Sequences of items the whole way: a log of visits, shards, two rounds, files for the device that are checked."""

import json
import pathlib
import random
import subprocess

from absl.testing import absltest

from tests import layout
from tests import preloaded

_PLACES = 6
_TRAIN = (
  '--total_rounds=2',
  '--clients_per_round=20',
  '--client_learning_rate=1.0',
  '--client_batch_size=4',
  '--max_examples_per_client=4',
  '--server_learning_rate=0.02',
  '--model_size=8',
  '--clip_norm=0.3',
  '--noise_multiplier=1.0',
  '--delta=1e-4',
  '--rounds_per_eval=2',
  '--seed=1',
  '--xla=no',
)


def _log() -> str:
  """Returns the visits of 80 people, each of whom goes round the places in order; the ids are of any type."""
  rng = random.Random(0)
  rows = []
  for person in range(80):
    start = rng.randrange(_PLACES)
    for step in range(24):
      place = (start + step) % _PLACES
      ids = [place + 17, f'{place + 17}.0', float(place + 17)]
      rows.append({'person': f'p-{person}', 'at': f'2026-03-01T08:{step:02}:00Z', 'place': rng.choice(ids)})
  rng.shuffle(rows)
  return ''.join(json.dumps(row) + '\n' for row in rows)


class ItemsEndToEndTest(absltest.TestCase):
  def _run(self, *command: str) -> str:
    result = subprocess.run(
      [preloaded.python(), *command], cwd=layout.ROOT, capture_output=True, text=True, timeout=250, check=False
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    return result.stdout

  def test_from_visits_to_a_file_for_the_device(self) -> None:
    folder = pathlib.Path(self.create_tempdir().full_path)
    shards, run, model = (folder / name for name in ('shards', 'run', 'model'))
    (folder / 'key').write_text('a key of more than sixteen bytes')
    (folder / 'visits.jsonl').write_text(_log())
    # At this price a place of all 72 training users is always published (a chance of 1e-9 that it is not).
    self._run(
      '-m',
      'pipelines.preprocess',
      '--dataset=configs/datasets/place_visits.toml',
      f'--output_dir={shards}',
      f'--input={folder / "visits.jsonl"}',
      f'--client_id_key_file={folder / "key"}',
      '--num_shards=2',
      '--override=examples.vocabulary.epsilon=20',
      '--override=examples.vocabulary.items_per_client=6',
      '--override=examples.window_length=5',
    )
    schema = json.loads((shards / 'manifest.json').read_text())['schema']
    self.assertEqual(schema['classes'][:2], ['<pad>', '<unknown>'])
    self.assertCountEqual(schema['classes'][2:], [str(place + 17) for place in range(_PLACES)])
    printed = self._run('-m', 'tff_tasks.train', *_TRAIN, f'--shards_dir={shards}', f'--output_dir={run}')
    self.assertIn('The true answer is among the first 10 of the model 100.0% of the time', printed)
    figures = json.loads((run / 'operator/run.json').read_text())
    # There are six places: all of them are among the first ten.
    self.assertEqual(figures['top_10_accuracy'], 1.0)
    self.assertBetween(figures['mean_reciprocal_rank'], figures['accuracy'], 1.0)
    self._run('-m', 'export.to_tflite', f'--run_dir={run}', f'--output_dir={model}')
    variants = json.loads((model / 'parity.json').read_text())['variants']
    for variant in ('float32', 'dynamic_range'):
      self.assertGreaterEqual(variants[variant]['argmax_agreement'], 0.9)
      self.assertTrue((model / f'next_item.{variant}.tflite').exists())
    steps = json.loads((model / 'preprocessing.json').read_text())
    self.assertEqual((steps['task'], steps['first_answer'], steps['examples']['kind']), ('next_item', 2, 'items'))
    self.assertEqual(steps['examples']['window_length'], 5)


if __name__ == '__main__':
  absltest.main()
