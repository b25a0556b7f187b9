"""Tests a task that is outside of the packages, as a user would write it: trained privately, evaluated, exported."""

import dataclasses
import json
import os
import pathlib
import subprocess
from typing import Any

from absl.testing import absltest
import numpy as np

from contracts import released_model
from contracts import schema as schema_lib
from examples.extensions import causal_convolutions
from tests import layout
from tests import preloaded
from tests.tff_tasks import fakes
from tests.tff_tasks import runs

_NAME = 'examples.extensions.causal_convolutions:TASK'


class CausalConvolutionsTest(absltest.TestCase):
  def setUp(self) -> None:
    super().setUp()
    self._folder = pathlib.Path(self.create_tempdir().full_path)
    self._shards = fakes.write_shards(str(self._folder / 'shards'))
    self._flagfile = f'--shards_dir={self._shards.path}\n--task={_NAME}\n'

  def _train(self, name: str, flagfile: str = '', **changes: Any) -> released_model.ReleasedModel:
    model, _ = runs.train_and_load(
      self._shards, str(self._folder / name), flagfile or self._flagfile, task=_NAME, seed=1, **changes
    )
    return model

  def _run(self, program: str, *flags: str) -> tuple[int, str, str]:
    command = [preloaded.python(), '-m', program, f'--run_dir={self._folder / "run"}', *flags]
    result = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr

  def test_trains_alike_on_both_runtimes_and_becomes_a_file(self) -> None:
    ours = self._train('run')
    theirs = self._train('reference', runtime='tff')
    self.assertEqual(ours.task, released_model.Task('causal_convolutions', _NAME))
    for one, other in zip(ours.weights, theirs.weights, strict=True):
      np.testing.assert_allclose(one, other, atol=1e-4)
    with self.assertRaisesRegex(ValueError, r'\(--task=.*\), found no --task: type the same flags .*another --output_'):
      self._train('run', f'--shards_dir={self._shards.path}\n')
    shards_flag, output = f'--shards_dir={self._shards.path}', f'--output_dir={self._folder / "model"}'
    programs = {'tff_tasks.evaluate': [shards_flag, '--json'], 'export.to_tflite': [output]}
    for program, flags in programs.items():
      for wrong in ((), ('--task=next_character',)):
        code, _, errors = self._run(program, *flags, *wrong)
        self.assertEqual(code, 2, errors)
        found = 'next_character' if wrong else 'none'
        self.assertIn(f'error: Expected --task={_NAME}, which the model in', errors)
        self.assertIn(f'found {found}: add that flag', errors)
        self.assertLen(errors.splitlines(), 1)
      code, printed, errors = self._run(program, *flags, f'--task={_NAME}')
      self.assertEqual(code, 0, errors)
      if program == 'tff_tasks.evaluate':
        self.assertEqual(json.loads(printed)['task'], 'causal_convolutions')
    # Step files are made by default, but this model has no such form.
    self.assertCountEqual(
      ['causal_convolutions.float32.tflite', 'causal_convolutions.dynamic_range.tflite'],
      [name for name in os.listdir(self._folder / 'model') if name.endswith('.tflite')],
    )
    code, _, errors = self._run('export.to_tflite', output, f'--task={_NAME}', '--variants=step')
    self.assertEqual(code, 1)
    self.assertRegex(errors, r'^error: step failed: Expected layers whose output .* found \w+ \(Conv1D\): a step model')
    parity = json.loads((self._folder / 'model/parity.json').read_text())
    self.assertEqual(parity['task'], 'causal_convolutions')
    self.assertGreaterEqual(parity['variants']['float32']['argmax_agreement'], 0.999)
    self.assertStartsWith((self._folder / 'model/MODEL_CARD.md').read_text(), r'# causal\_convolutions on')

  def test_other_examples_are_refused(self) -> None:
    label = dataclasses.replace(fakes.SCHEMA.label, shape=())
    with self.assertRaisesRegex(ValueError, r'a label for each position, found labels of shape \[\]'):
      causal_convolutions.TASK.build(schema_lib.Schema('x', fakes.SCHEMA.feature, label, fakes.SCHEMA.classes), 4)


if __name__ == '__main__':
  absltest.main()
