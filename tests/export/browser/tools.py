"""What tests in a real browser need: Chromium, LiteRT.js, and Playwright's core, which moves the mouse and types."""

from collections.abc import Mapping, Sequence
import json
import os
import pathlib
import subprocess
from typing import Any

from absl.testing import absltest

from export.browser import chromium
from export.browser import litert_js
from tests import layout

# Where npm has put both packages; by default node_modules of this project.
_MODULES = pathlib.Path(os.environ.get('POCKETFED_NODE_MODULES') or layout.ROOT / 'node_modules')
# Set where these tests have to run, as in CI: then what would skip one fails it.
_REQUIRED = 'POCKETFED_BROWSER_REQUIRED'
_HOW_TO = 'npm install --no-save @litertjs/core@2.5.3 playwright-core, or set POCKETFED_NODE_MODULES'
LITERT_JS = os.fspath(_MODULES / litert_js.PACKAGE)


def find_chromium(test: absltest.TestCase) -> str:
  """Returns the path of Chromium; skips the test where it or LiteRT.js is missing."""
  try:
    path = chromium.find(None)
    litert_js.read(LITERT_JS)
  except ValueError as error:
    _skip(test, str(error))
  return path


def visit(test: absltest.TestCase, visits: Sequence[Mapping[str, Any]], folder: str) -> list[dict[str, Any]]:
  """Opens pages, does what a visitor does, and returns what each shows then; skips the test where something is missing.

  Args:
    test: The test.
    visits: Of each page the `url`, the `width` and `height` of the screen, and the `actions` (see visit.mjs).
    folder: For the screenshots, which are named by their visit.
  """
  if not (_MODULES / 'playwright-core').is_dir():
    _skip(test, f'Expected playwright-core in {_MODULES}, found none: {_HOW_TO}.')
  script = pathlib.Path(__file__).with_name('visit.mjs')
  request = {'modules': f'{_MODULES}/', 'chromium': find_chromium(test), 'visits': visits, 'folder': folder}
  ran = subprocess.run(
    ['node', script], input=json.dumps(request), capture_output=True, text=True, check=False, timeout=120
  )
  test.assertEqual(ran.returncode, 0, ran.stderr)
  return json.loads(ran.stdout)


def _skip(test: absltest.TestCase, reason: str) -> None:
  if os.environ.get(_REQUIRED):
    test.fail(reason)
  test.skipTest(reason)
