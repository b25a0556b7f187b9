"""Compares the files of a model folder in a browser with themselves on LiteRT, on held-out examples."""

from collections.abc import Iterator, Mapping
import json
import os
from typing import Any, NamedTuple

import numpy as np

from contracts import schema as schema_lib
from export import flex
from export import guard
from export import parity
from export import templates
from export.browser import chromium as chromium_lib
from export.browser import litert_js
from export.forms import registry as forms

# Kernels of the browser round otherwise, and integers make more of that: float32 files hardly differ.
_FLOATS = parity.Bounds(0.999, 1e-4)
_INTEGERS = parity.Bounds(0.99, None)
_TEMPLATE = 'check.html.j2'


class Outcome(NamedTuple):
  """What a file answers in the browser.

  Attributes:
    path: The name of the file.
    figures: The comparison with LiteRT; None: the browser could not run it.
    microseconds: The mean time of a call.
    fault: Why it is not good enough; empty if it is.
  """

  path: str
  figures: parity.Figures | None
  microseconds: float
  fault: str


def choose(variants: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
  """Returns the form of each file that a browser can run, and why it cannot run the others, by name of the file.

  Args:
    variants: What parity.json says of each.
  """
  refused = {}
  for each in variants.values():
    if flex.is_needed(each['summary']):
      refused[each['path']] = 'LiteRT.js has no kernels of TensorFlow (Flex)'
    elif each.get('form') == 'train':
      refused[each['path']] = 'it trains; what it answers before is what the others answer'
    elif 'quantized' in each:
      refused[each['path']] = 'LiteRT.js takes and gives floats alone'
  # An older export named no form: its preprocessing.json is refused later.
  chosen = {each['path']: each.get('form', 'whole') for each in variants.values() if each['path'] not in refused}
  return chosen, refused


def compare(
  model_dir: str,
  chosen: Mapping[str, str],
  steps: Mapping[str, Any],
  examples: parity.Examples,
  schema: schema_lib.Schema,
  runtime: Mapping[str, bytes],
  chromium: str,
  limits: guard.Limits,
) -> Iterator[Outcome]:
  """Yields what each file answers.

  Args:
    model_dir: The model folder.
    chosen: The form of each file, by name.
    steps: What preprocessing.json says.
    examples: Of held-out users.
    schema: Of the examples.
    runtime: LiteRT.js, see `litert_js.read`.
    chromium: The path of the browser.
    limits: Of the browser, and of each file on LiteRT.

  Raises:
    ValueError: If preprocessing.json is of an export that did not name the output.
    chromium.Failed: If the browser comes to no end.
    guard.Failed: If LiteRT does not.
  """
  jobs = [_make_job(path, steps['step'] if form == 'step' else steps, examples) for path, form in chosen.items()]
  posted = chromium_lib.run(chromium, _make_site(model_dir, jobs, examples, runtime), '/check.html', limits.seconds)
  for index, (path, form) in enumerate(chosen.items()):
    failed = posted.get(f'/failed/{index}')
    if failed is not None:
      yield Outcome(path, None, 0.0, ' '.join(failed.decode(errors='replace').split()))
      continue
    expected = guard.call(limits, _answer, os.path.join(model_dir, path), form, examples.features)
    logits = np.frombuffer(posted[f'/logits/{index}'], np.float32).reshape(expected.shape)
    figures = parity.compare(examples.labels, logits, expected, schema.first_answer)
    is_exact = forms.FORMS[form].reference in path.split('.')
    fault = parity.disagreement(figures, _FLOATS if is_exact else _INTEGERS, 'LiteRT') or ''
    yield Outcome(path, figures, 1000 * float(posted[f'/times/{index}']), fault)


def _answer(path: str, form: str, features: np.ndarray) -> np.ndarray:
  """Returns the logits of a file on LiteRT; meant for a guarded child process."""
  return forms.FORMS[form].answers(path, features).logits


def _make_job(path: str, ends: Mapping[str, Any], examples: parity.Examples) -> dict[str, Any]:
  if not {'input', 'output'} <= ends.keys():
    raise ValueError(f'Expected preprocessing.json to name input and output of {path}, found none: export again.')
  size = int(np.prod(ends['input']['shape']))
  return {
    'path': f'/model/{path}',
    'input': ends['input'],
    'output': ends['output'],
    'states': ends.get('states', ()),
    'per_example': examples.features[0].size // size,
  }


def _make_site(
  model_dir: str, jobs: list[dict[str, Any]], examples: parity.Examples, runtime: Mapping[str, bytes]
) -> dict[str, str | bytes]:
  environment = templates.build_environment(__file__, autoescape=True)
  imports = litert_js.imports(runtime, '/litert')
  page = environment.get_template(_TEMPLATE).render(imports=imports, wasm=f'/litert/{litert_js.WASM}/')
  return {
    '/check.html': page.encode(),
    '/job.json': json.dumps(jobs).encode(),
    '/model/': model_dir,
    **{f'/litert/{name}': content for name, content in runtime.items()},
    **{f'/features/{dtype}': examples.features.astype(dtype).tobytes() for dtype in ('float32', 'int32')},
  }
