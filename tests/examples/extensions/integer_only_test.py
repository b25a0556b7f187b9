"""Tests a variant that is outside of the packages, as a user would write it: from a trained run to a checked file."""

import dataclasses
import io
import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest
from ai_edge_litert import interpreter as litert

from tests import layout
from tests.tff_tasks import fakes
from tff_tasks.training import run as run_lib

_NAME = 'examples.extensions.integer_only:VARIANT'


class IntegerOnlyTest(absltest.TestCase):
  def test_a_trained_run_becomes_a_file_without_floats_inside(self) -> None:
    folder = pathlib.Path(self.create_tempdir().full_path)
    shards = fakes.write_shards(str(folder / 'shards'))
    config = dataclasses.replace(fakes.CONFIG, output_dir=str(folder / 'run'), shards_dir=shards.path)
    run_lib.train(config, shards, f'--shards_dir={shards.path}\n', io.StringIO())
    flags = [f'--run_dir={config.output_dir}', f'--output_dir={folder / "model"}', f'--variants=float32,{_NAME}']
    command = [sys.executable, '-m', 'export.to_tflite', *flags]
    result = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=False)
    self.assertEqual((result.returncode, result.stderr), (0, ''))
    figures = json.loads((folder / 'model/parity.json').read_text())['variants']
    self.assertEqual(list(figures), ['float32', 'integer_only'])
    self.assertGreaterEqual(figures['integer_only']['argmax_agreement'], 0.9)
    self.assertGreater(figures['integer_only']['max_logit_difference'], 0)
    self.assertEqual(figures['integer_only']['path'], 'next_character.integer_only.tflite')
    self.assertIn('8-bit integers', figures['integer_only']['summary'])
    interpreter = litert.Interpreter(os.fspath(folder / 'model/next_character.integer_only.tflite'))
    interpreter.allocate_tensors()
    floats = [each['name'] for each in interpreter.get_tensor_details() if each['dtype'].__name__ == 'float32']
    self.assertLen(floats, 1, floats)  # The logits.
    code = result.stdout + (folder / 'model/MODEL_CARD.md').read_text()
    self.assertIn('for devices without floats inside: of', code)


if __name__ == '__main__':
  absltest.main()
