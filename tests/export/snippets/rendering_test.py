"""Tests that the snippets make the examples of the data set, and give the answers of the file. Slow: they run it."""

import ast
import contextlib
import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from ai_edge_litert import interpreter
import numpy as np

from export.browser import litert_js
from export.on_device import training_file
from export.snippets import facts as facts_lib
from export.snippets import rendering
from tests.export.browser import tools
from tests.export.snippets import folders
from tests.export.snippets import javascript
from tests.export.snippets import kotlin

# Set in CI: then what would skip the test of Kotlin fails it.
_KOTLIN_REQUIRED = 'POCKETFED_KOTLIN_REQUIRED'
# In the model folder; runs what a snippet defines, without TensorFlow.
_PYTHON = """
import json, runpy, sys

sys.modules['tensorflow'] = None
snippet = runpy.run_path('snippets/predict.py')
given = json.load(sys.stdin)
if 'cut' in snippet:
  features = snippet['to_codes'](snippet['cut'](given))
  logits = list(snippet['follow' if 'follow' in snippet else 'run'](features))
else:
  features = [snippet['make_features'](example).tolist() for example in given]
  logits = [snippet['run'](example) for example in features]
answers = [snippet['best'](each, 2) for each in logits]
json.dump({'features': features, 'logits': [each.tolist() for each in logits], 'answers': answers}, sys.stdout)
"""

_TRAINING = """
import json, runpy, sys

sys.modules['tensorflow'] = None
sys.path.insert(0, 'snippets')
snippet = runpy.run_path('snippets/train.py')
features = [snippet['predict'].make_features(example) for example in json.load(sys.stdin)]
infer = lambda: snippet['infer'](features[0]).tolist()
found = {'untrained': infer()}
found['losses'] = snippet['train'](features, [0, 1, 1, 0, 0], epochs=2)
found['trained'] = infer()
snippet['save']('weights.npz')
snippet['RESET']()
found['reset'] = infer()
snippet['load']('weights.npz')
found['loaded'] = infer()
json.dump(found, sys.stdout)
"""


class RenderingTest(parameterized.TestCase):
  @parameterized.parameters(*folders.CASES)
  def test_python(self, kind: str) -> None:
    folder, case = folders.make(kind), folders.CASES[kind]
    command = [sys.executable, '-c', _PYTHON]
    ran = subprocess.run(command, cwd=folder, input=json.dumps(case.given), capture_output=True, text=True, check=False)
    self.assertEqual(ran.returncode, 0, ran.stderr)
    case.check(self, json.loads(ran.stdout))
    # As it is, it shows some answers.
    command = [sys.executable, f'snippets/{rendering.PYTHON}']
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    self.assertEqual(ran.returncode, 0, ran.stderr)
    lines = ran.stdout.splitlines()
    self.assertLen(lines, {'characters': 12, 'words': 5, 'items': 3}.get(kind, 1))
    self.assertStartsWith(lines[0], 't [' if kind == 'characters' else '')

  @parameterized.parameters(*folders.WRONG_SIZE)
  def test_an_example_of_another_size(self, kind: str) -> None:
    with contextlib.chdir(folders.make_without_model(kind)), mock.patch.object(interpreter, 'Interpreter'):
      snippet = runpy.run_path('snippets/predict.py')
      with self.assertRaisesRegex(ValueError, folders.WRONG_SIZE[kind]):
        snippet['run'](snippet['make_features'](folders.CASES[kind].wrong))

  @parameterized.parameters('characters', 'words', 'items')
  def test_an_empty_sequence(self, kind: str) -> None:
    with contextlib.chdir(folders.make_without_model(kind)), mock.patch.object(interpreter, 'Interpreter'):
      snippet = runpy.run_path('snippets/predict.py')
      codes = snippet['to_codes'](snippet['cut'](folders.CASES[kind].wrong))
      answers = snippet['follow' if 'follow' in snippet else 'run'](codes)
      self.assertEmpty(list(answers))

  def test_training(self) -> None:
    case = folders.CASES['table']
    folder, path = folders.make_training('table')
    command, given = [sys.executable, '-c', _TRAINING], json.dumps(case.given)
    ran = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    self.assertEqual(ran.returncode, 0, ran.stderr)
    self._check_training(path, json.loads(ran.stdout))
    browser = tools.find_chromium(self)
    self._check_training(path, javascript.train(browser, litert_js.read(tools.LITERT_JS), folder, case.given))

  def _check_training(self, path: str, found: dict[str, list[float]]) -> None:
    """Compares what a snippet trained with the same steps of the file."""
    case, file = folders.CASES['table'], training_file.TrainingFile.open(path)
    examples = folders.featurize(case.featurizer, case.columns)
    np.testing.assert_allclose(found['untrained'], file.infer(examples.features[:1])[0], atol=1e-5)
    losses = [file.train(*examples[:2], 0.1) for _ in range(2)]
    self.assertLess(losses[1], losses[0])
    np.testing.assert_allclose(found['losses'], losses, rtol=1e-5)
    np.testing.assert_allclose(found['trained'], file.infer(examples.features[:1])[0], atol=1e-5)
    self.assertEqual((found['loaded'], found['reset']), (found['trained'], found['untrained']))

  @parameterized.parameters('characters', 'words', 'items')
  def test_labels_of_sequences(self, kind: str) -> None:
    case = folders.CASES[kind]
    folder = folders.make_without_model(kind)
    with contextlib.chdir(folder), mock.patch.object(interpreter, 'Interpreter'):
      predict = types.SimpleNamespace(**runpy.run_path('snippets/predict.py'))
      self.enterContext(mock.patch.dict(sys.modules, predict=predict))
      train = runpy.run_path('snippets/train.py')
      # The last message has ended: that is learned as well.
      pieces = predict.cut([*case.given, ''] if case.has_end else next(iter(case.columns.values())))
      features, labels = train['make_examples'](predict.to_codes(pieces))
      train['TRAIN'].return_value = {'loss': 0.5}
      self.assertEqual(train['train'](features[:1], labels[:1], epochs=1), [0.5])
    # A batch is filled up with a real example, which does not count there.
    batch = train['TRAIN'].call_args.kwargs
    np.testing.assert_array_equal(batch['x'], np.repeat(features[:1], len(batch['x']), axis=0))
    self.assertEqual(batch['weight'].tolist(), [1] + [0] * (len(batch['x']) - 1))
    expected = folders.featurize(case.featurizer, case.columns)
    np.testing.assert_array_equal(features, expected.features)
    # An unknown label has a number of its own in the data set, and counts as little as padding.
    np.testing.assert_array_equal(labels, np.maximum(expected.labels, -1))

  def test_kotlin(self) -> None:
    cases = folders.CASES
    try:
      made = kotlin.make_features(
        {kind: folders.make_without_model(kind) for kind in cases},
        {kind: case.given for kind, case in cases.items()},
        {kind: case.wrong for kind, case in cases.items()},
        {kind: case.is_sequence for kind, case in cases.items()},
      )
    except kotlin.Unavailable as error:
      if os.environ.get(_KOTLIN_REQUIRED):
        raise
      self.skipTest(str(error))
    for kind, case in cases.items():
      with self.subTest(kind):
        features = case.features
        found = np.array(made[kind]['features'], features.dtype).reshape(features.shape)
        np.testing.assert_allclose(found, features, rtol=1e-6)
        self.assertEqual(made[kind]['wrong'], folders.WRONG_SIZE.get(kind, []))

  @parameterized.product(name=[*rendering.NAMES, *rendering.TRAINING_NAMES], kind=[*folders.CASES])
  def test_names_what_the_folder_has(self, name: str, kind: str) -> None:
    facts = folders.facts(kind)
    code = rendering.render(name, facts)
    is_training = name in rendering.TRAINING_NAMES
    ends = [facts.input['name'], facts.output['name']]
    ends += [state[end] for state in facts.states for end in ('input', 'output')]
    # What every training file has is written as it is.
    signatures = facts.training['signatures']
    of_all = [
      *signatures,
      *(end['name'] for signature in ('train', 'infer') for end in signatures[signature]['inputs']),
    ]
    if name == 'Trainer.kt':  # Java runs no signature without inputs.
      of_all = [end for end in of_all if end not in ('get_weights', 'reset')]
      self.assertNotRegex(code, r'mapOf(<.*>)?\(\)')
    for end in of_all if is_training else ends:
      self.assertRegex(code, rf'["\']{end}["\']|\b{end}[=:,)]')
    paths = set(re.findall(r'["\'}/]([\w.]+\.(?:tflite|json))["\'`]', code))
    if is_training:
      self.assertEqual(paths, {facts.training_path})
      self.assertRegex(code, r'(?i)batch_?size = 20\b')
    else:
      self.assertContainsSubset({facts.path, 'classes.json'}, paths)
      self.assertContainsSubset(paths, {facts.path, 'classes.json', 'preprocessing.json'})
      self.assertRegex(code, f'(?i)first_?answer = {facts.steps["first_answer"]}\\b')
    self.assertNotRegex(code, r'\n\n\n\n|[ \t]\n|\{\{ |\{%')
    self.assertEqual([code.count(mark) for mark in '([{'], [code.count(mark) for mark in ')]}'], name)

  def test_says_what_has_no_code(self) -> None:
    steps = folders.facts('table').steps
    quantized = {**steps, 'quantized': {'files': {'a.tflite': {}}}}
    signs = dict.fromkeys((*rendering.NAMES, *rendering.TRAINING_NAMES), '//') | {'predict.py': '#', 'train.py': '#'}
    for name, sign in signs.items():
      text = rendering.render(name, facts_lib.Facts(quantized, 'a.tflite', is_step=False))
      self.assertRegex(text, f'^{sign} No code for a.tflite: Its input or output is of integers .* to get some.\n$')
    for name in rendering.NAMES:
      own = rendering.render(
        name, facts_lib.Facts({**steps, 'examples': {'kind': 'my.own'}}, 'a.tflite', is_step=False)
      )
      self.assertIn('make the input as your own featurizer does', own)
      self.assertIn('a.tflite', own)

  @parameterized.parameters(*rendering.NAMES, *rendering.TRAINING_NAMES)
  def test_a_name_cannot_end_a_comment(self, name: str) -> None:
    facts = folders.facts('table')
    evil = 'a\u2028alert(1)\u2029\f\n\x85\u202e"""\\$x'
    examples = {**facts.examples, 'numbers': [evil], 'categories': [], 'scaling': None}
    training = {**facts.training, 'local_layers': [evil]}
    steps = {**facts.steps, 'examples': examples, 'training': training}
    code = rendering.render(name, dataclasses.replace(facts, steps=steps))
    self.assertNotRegex(code, '[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]')
    expected = {
      '.mjs': r'"a\u{2028}alert(1)\u{2029}\u{c}\n\u{85}\u{202e}\"\"\"\\$x"',
      '.kt': r'"a\u2028alert(1)\u2029\u000c\n\u0085\u202e\"\"\"\\\$x"',
    }
    expected['.swift'] = expected['.mjs']
    suffix = os.path.splitext(name)[1]
    if suffix == '.py':
      tree = ast.parse(code)
      texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
      self.assertTrue(any(evil in text for text in texts) or evil in json.dumps(texts), texts)
    else:
      self.assertIn(expected[suffix], code)


if __name__ == '__main__':
  absltest.main()
