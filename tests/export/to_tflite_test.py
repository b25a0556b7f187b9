"""Tests of the program as a user starts it: what it leaves, what it prints, how it ends, also when it is stopped."""

import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized
import psutil

from common import sealed_json
from export import model_folder
from export.metadata import packing
from tests import layout
from tests.export import exported
from tests.export import fakes

_FILES = (
  *exported.CONTENTS,
  'SHA256SUMS',
  *(f'next_character.{name}.tflite' for name in ('float32', 'dynamic_range', 'step', 'step_dynamic_range')),
)
# In a process of its own: it defines flags that other programs define too.
_SUMMARIZE = """
from export import to_tflite
record = {'task': 'classification', 'seconds': 6.2, 'keras_accuracy': 0.5, 'majority_accuracy': 0.25, 'variants': {}}
for local_layers in ('', 'logits: reconstruct them'):
  print(to_tflite.summarize({**record, 'examples': 890, 'positions': 890}, 'model', local_layers))
"""


def _start(*flags: str) -> subprocess.Popen[str]:
  command = [sys.executable, '-m', 'export.to_tflite', *flags]
  return subprocess.Popen(
    command, cwd=layout.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heed_interrupts
  )


def _heed_interrupts() -> None:
  """Undoes what the tests inherit if they run in the background."""
  signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(*flags: str) -> tuple[int, str, str]:
  with _start(*flags) as process:
    output, errors = process.communicate(timeout=120)
  return process.returncode, output, errors


def _wait_for(condition: object) -> bool:
  for _ in range(200):
    if condition():  # type: ignore[operator]
      return True
    time.sleep(0.05)
  return False


class ToTfliteTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls._base = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls._shards = fakes.write_shards(os.path.join(cls._base, 'shards'))
    cls._exported_run = fakes.write_figures(os.path.join(cls._base, 'run'), cls._shards)
    fakes.release(cls._exported_run)
    cls._model = os.path.join(cls._base, 'model')
    cls._result = _run(f'--run_dir={cls._exported_run}', f'--output_dir={cls._model}')

  def setUp(self) -> None:
    super().setUp()
    self._folder = self.enterContext(tempfile.TemporaryDirectory())
    self._run_dir = os.path.join(self._folder, 'run')
    shutil.copytree(self._exported_run, self._run_dir)
    self._output = os.path.join(self._folder, 'model')

  def _refused(self, *flags: str) -> str:
    """Runs, checks that it ended as a user's mistake, and returns the one line."""
    code, output, errors = _run(f'--run_dir={self._run_dir}', *flags)
    self.assertEqual(code, 2, errors)
    self.assertLen(errors.splitlines(), 1)
    self.assertStartsWith(errors, 'error: Expected ')
    self.assertNotIn('agreement', output)
    return errors

  def test_exports(self) -> None:
    code, output, errors = self._result
    self.assertEqual((code, errors), (0, ''))
    self.assertCountEqual(model_folder.find_files(self._model), _FILES)
    self.assertIn('Checked on 28 examples (308 positions) of held-out users', output)
    self.assertIn('No index.html: to try the model in a browser, type npm install @litertjs/core@2.5.3, and', output)
    self.assertRegex(output, r'next_character.float32.tflite +\d+ kB +\d+ kB +100.00% +\d')
    lines = pathlib.Path(self._model, 'SHA256SUMS').read_text().splitlines()
    self.assertCountEqual([line.split()[1] for line in lines], {*_FILES} - {'SHA256SUMS'})
    # The command of the model card and of --help.
    subprocess.run(['sha256sum', '-c', '--strict', 'SHA256SUMS'], cwd=self._model, check=True, capture_output=True)
    parity = json.loads(pathlib.Path(self._model, 'parity.json').read_text())
    # Nothing is quantized in so small a model, and nothing says that something is.
    self.assertEqual(parity['variants']['dynamic_range']['stored']['int8'], 0)
    card, page = (
      pathlib.Path(path).read_text()
      for path in (os.path.join(self._model, 'MODEL_CARD.md'), os.path.join(self._exported_run, 'operator/report.html'))
    )
    for text in (output, card, page, parity['variants']['dynamic_range']['summary']):
      self.assertRegex(text, r'all [\d,]+ stored values \(weights and constants\) are float32, as in float32')
      self.assertNotRegex(text, '8-bit (weights|integers)')
    self.assertEqual(
      ['Over 7 held-out users, on about 44 answers each, accuracy is' in text for text in (page, card)], [True, False]
    )
    for variant in parity['variants'].values():
      self.assertIn(variant['path'], page)
      median, p95, memory = *(variant['latency_us'][key] for key in ('median', 'p95')), variant['peak_memory_mb']
      self.assertRegex(output, rf'{variant["path"]} +{median:,.1f} us +{p95:,.1f} us +{memory:.2f} MB')
    # Of one graph, the same answers.
    for one, other in (('float32', 'step'), ('dynamic_range', 'step_dynamic_range')):
      for figure in ('argmax_agreement', 'accuracy', 'positions'):
        self.assertEqual(parity['variants'][one][figure], parity['variants'][other][figure], figure)
    steps = json.loads(pathlib.Path(self._model, 'preprocessing.json').read_text())
    self.assertEqual((steps['input']['shape'], steps['step']['input']['shape']), ([1, 12], [1]))
    self.assertEqual((steps['step']['states'][0]['shape'], steps['step']['longest']), ([1, 8], 12))

  def test_a_second_export_of_the_same_run_converts_nothing(self) -> None:
    before = exported.stat_all(self._model)
    code, output, errors = _run(f'--run_dir={self._exported_run}', f'--output_dir={self._model}')
    self.assertEqual((code, errors), (0, ''))
    self.assertEqual(output, f'Nothing to do: {self._model} has the export of this run.\n')
    self.assertEqual(exported.stat_all(self._model), before)

  def test_writes_the_variants_that_are_asked_for(self) -> None:
    shutil.copytree(self._model, self._output)
    for name in ('float32', 'dynamic_range'):  # As an earlier version called them.
      old = f'next_character_{name}.tflite'
      os.rename(os.path.join(self._output, f'next_character.{name}.tflite'), os.path.join(self._output, old))
      sums = pathlib.Path(self._output, 'SHA256SUMS')
      sums.write_text(sums.read_text().replace(f'next_character.{name}.tflite', old))
    said = ('--model_author=Ada & co', '--model_license=MIT', '--accept_unaccounted_figures')
    flags = (f'--run_dir={self._run_dir}', f'--output_dir={self._output}', '--variants=float16', *said)
    code, output, errors = _run(*flags)
    self.assertEqual((code, errors, 'No epsilon covers them.' in output), (0, '', True))
    self.assertRegex(output, r'next_character.float16.tflite +\d+ kB +\d+ kB +\d')
    self.assertNotIn('float32.tflite', output)
    others = {name for name in _FILES if not name.endswith('.tflite')}
    self.assertCountEqual(model_folder.find_files(self._output), ['next_character.float16.tflite', *others])
    card = pathlib.Path(self._output, 'MODEL_CARD.md').read_text()
    for text in ('are 16-bit floats', 'Author: Ada & co.', 'Licence: MIT.', '| split test | 7 clients, 28 examples'):
      self.assertIn(text, card)
    found = packing.read_standard(pathlib.Path(self._output, 'next_character.float16.tflite').read_bytes())
    self.assertEqual((found.author, found.license), (b'Ada & co', b'MIT'))
    (again,) = (line for line in card.splitlines() if line.startswith('python -m export.to_tflite '))
    command = shlex.split(again.replace('=RUN', f'={self._run_dir}').replace('=MODEL', f'={self._output}'))
    self.assertStartsWith(_run(*command[3:])[1], 'Nothing to do: ')
    figures = pathlib.Path(self._run_dir, 'operator/held_out.json')
    figures.write_text('{}')
    self.assertIn('found no checksum: delete the file and export again', _run(*command[3:])[2])
    figures.unlink()
    self.assertEqual((_run(*command[3:])[0], figures.exists()), (0, True))

  @parameterized.parameters(
    ('', 'found none: write --variants=float32,dynamic_range'),
    ('float32,float61', "found 'float61': did you mean float16?"),
    ('float32,float32', 'found float32 twice: write it once'),
    ('float32,int8', 'Expected examples for int8, which learns from them, found none: add --public_data=SHARDS_FOLDER'),
    ('contracts.schema:IGNORED_LABEL', 'of type int: derive a class from Variant'),
    ('contracts.schema:IGNORED', "found no attribute 'IGNORED' there: did you mean contracts.schema:IGNORED_LABEL"),
  )
  def test_refuses_a_list_of_variants_that_is_wrong(self, variants: str, message: str) -> None:
    self.assertIn(message, self._refused(f'--output_dir={self._output}', f'--variants={variants}'))
    self.assertFalse(os.path.exists(self._output))

  @parameterized.parameters(
    ('--max_kb=300', 'Expected --choose_best with --max_kb, found none: add it, or remove --max_kb'),
    ('--max_accuracy_loss=0.1', 'Expected --choose_best with --max_accuracy_loss, found none'),
    ('--public_data=missing', 'Expected a finished data set in missing, found no manifest.json'),
    ('--signing_key=missing', 'Expected an Ed25519 private key in PEM at missing, found No such file'),
    ('--model_author=a\x1b[2J\n', r'for --model_author, found a\x1b[2J\n: leave out what was not printable'),
    ('--accept_unaccounted_calibration', 'Expected --calibration_shards with --accept_unaccounted_calibration'),
  )
  def test_refuses_flags_that_lack_something(self, flag: str, message: str) -> None:
    self.assertIn(message, self._refused(f'--output_dir={self._output}', flag))
    self.assertFalse(os.path.exists(self._output))

  def test_a_variant_that_crashes_takes_no_other_down(self) -> None:
    flags = (f'--run_dir={self._run_dir}', f'--output_dir={self._output}')
    name = 'tests.export.broken_variants'
    broken = ('CRASHES', 'REFUSES', 'CANNOT_DESCRIBE', 'ANOTHER_MODEL')
    code, output, errors = _run(*flags, f'--variants=float32,{",".join(f"{name}:{each}" for each in broken)}')
    self.assertEqual(code, 1)
    self.assertEqual(
      errors.splitlines(),
      [
        'error: crashes failed: crashed with SIGSEGV',
        'error: refuses failed: Expected a smaller model, found this one: take another.',
        "error: cannot_describe failed: KeyError: 'int4'",
        'error: another_model failed: Expected logits of shape [1, 12, 20], found [1, 12, 16]',
      ],
    )
    self.assertIn('next_character.float32.tflite', output)
    card = pathlib.Path(self._output, 'MODEL_CARD.md').read_text()
    self.assertIn('The variant crashes could not be made: crashed with SIGSEGV.', card)
    others = [name for name in _FILES if not name.endswith('.tflite')]
    self.assertCountEqual(model_folder.find_files(self._output), ['next_character.float32.tflite', *others])

  def test_never_replaces_a_file_of_somebody(self) -> None:
    os.makedirs(self._output)
    pathlib.Path(self._output, 'MODEL_CARD.md').write_text('mine')
    self.assertIn('found a MODEL_CARD.md that no export wrote', self._refused(f'--output_dir={self._output}'))
    self.assertEqual(exported.read_all(self._output), {'MODEL_CARD.md': b'mine'})

  def test_a_damaged_record_is_told_with_a_remedy_that_works(self) -> None:
    shutil.copytree(self._model, self._output)
    path = pathlib.Path(self._output, 'parity.json')
    path.write_text(path.read_text().replace('1', '2'))
    refused = self._refused(f'--output_dir={self._output}')
    self.assertIn('found another content than its checksum says: delete it and export again', refused)
    path.unlink()
    private, public = exported.write_keys(self._folder)
    flags = (f'--run_dir={self._run_dir}', f'--output_dir={self._output}', f'--signing_key={private}')
    self.assertEqual(_run(*flags)[0], 0)
    self.assertEqual(exported.read(self._output), exported.read(self._model))  # Of another process.
    self.assertEmpty(exported.find_faults(self._output, public, self._run_dir))
    self.assertStartsWith(_run(*flags)[1], 'Nothing to do: ')

  def test_positions_are_counted_where_an_example_has_several(self) -> None:
    command = [sys.executable, '-c', _SUMMARIZE]
    output = subprocess.run(command, cwd=layout.ROOT, capture_output=True, text=True, check=True).stdout
    self.assertIn('Checked on 890 examples of held-out users', output)
    before = 'These accuracies are before reconstruction. Local layers: logits: reconstruct them.\n'
    self.assertEqual((output.count('before reconstruction'), output.endswith(before)), (1, True))

  @parameterized.parameters(signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
  def test_stopped_it_leaves_no_process_and_no_complete_folder(self, stop: signal.Signals) -> None:
    output = f'--output_dir={self._output}'
    with _start(f'--run_dir={self._run_dir}', output, '--variants=float32,dynamic_range') as process:
      self.assertTrue(_wait_for(lambda: len(psutil.Process(process.pid).children()) == 3))
      children = [child.pid for child in psutil.Process(process.pid).children()]
      process.send_signal(stop)
      process.communicate(timeout=30)
    self.assertNotEqual(process.returncode, 0)
    self.assertTrue(_wait_for(lambda: not any(os.path.exists(f'/proc/{child}/exe') for child in children)))
    self.assertEqual(os.listdir(self._output), ['.staging'] if stop == signal.SIGKILL else [])

  def test_a_failed_export_leaves_the_one_before(self) -> None:
    fakes.release(self._run_dir, seed=2)
    shutil.copytree(self._model, self._output)
    before = exported.read_all(self._output)
    code, _, errors = _run(f'--run_dir={self._run_dir}', f'--output_dir={self._output}', '--conversion_seconds=1')
    self.assertEqual(code, 1)
    self.assertEqual(errors, 'error: the Keras model could not be run: took longer than its limit of 1 s\n')
    self.assertEqual(exported.read_all(self._output), before)

  def test_help_says_how_to_know_a_complete_folder(self) -> None:
    code, output, _ = _run('--help')
    self.assertEqual(code, 0)
    output = ' '.join(output.split())
    self.assertIn('in which `sha256sum -c SHA256SUMS` succeeds', output)
    self.assertIn('By default float32,dynamic_range; for next_character, next_word, next_item and tasks of', output)
    self.assertIn('whose model is recurrent also step,step_dynamic_range', output)

  def test_refuses_a_model_that_diverged(self) -> None:
    fakes.release(self._run_dir, spoil=float('nan'))
    shutil.copytree(self._model, self._output)
    self.assertIn('finite weights', self._refused(f'--output_dir={self._output}'))
    self.assertCountEqual(model_folder.find_files(self._output), _FILES)

  def test_needs_shards_and_a_run(self) -> None:
    missing = os.path.join(self._folder, 'missing')
    self.assertIn('a finished data set', self._refused(f'--output_dir={self._output}', f'--shards_dir={missing}'))
    os.remove(os.path.join(self._run_dir, 'config.flags'))
    self.assertIn('pass --shards_dir', self._refused(f'--output_dir={self._output}'))
    shutil.rmtree(self._run_dir)
    self.assertIn('a run directory at', self._refused(f'--output_dir={self._output}'))

  def test_refuses_other_data_of_the_same_schema(self) -> None:
    other = fakes.write_shards(os.path.join(self._folder, 'other'), num_users=6)
    self.assertIn('found other shards in', self._refused(f'--output_dir={self._output}', f'--shards_dir={other}'))
    self.assertFalse(os.path.exists(self._output))

  def test_refuses_to_replace_a_model_of_another_task(self) -> None:
    shutil.copytree(self._model, self._output)
    path = pathlib.Path(self._output, 'parity.json')
    path.write_text(sealed_json.dumps(json.loads(path.read_text()) | {'task': 'handwriting'}))
    self.assertIn('found one of handwriting', self._refused(f'--output_dir={self._output}'))
    self.assertCountEqual(model_folder.find_files(self._output), _FILES)

  def test_refuses_an_output_that_cannot_be_written(self) -> None:
    blocked = os.path.join(self._run_dir, 'public/model.npz')
    before = pathlib.Path(blocked).read_bytes()
    for path in (blocked, os.path.join(blocked, 'model')):
      self.assertIn('a folder that can be written', self._refused(f'--output_dir={path}'))
    self.assertEqual(pathlib.Path(blocked).read_bytes(), before)


if __name__ == '__main__':
  absltest.main()
