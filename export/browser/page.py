"""The page of a model folder, on which a visitor tries the model: no server code, and nothing is sent."""

from collections.abc import Iterable, Mapping
import json
import os
from typing import Any

from contracts import run_directory
from export import model_folder
from export import preprocessing
from export import privacy_statement
from export import templates
from export.browser import litert_js
from export.snippets import facts as facts_lib

_TEMPLATE = 'index.html.j2'


def why_none(facts: facts_lib.Facts) -> str:
  """Returns why there is no page for a file; empty if there is one."""
  if facts.needs_flex:
    return f'{facts.path} needs the kernels of TensorFlow (Flex), which LiteRT.js has not'
  if not facts.kind:
    return 'it has no way to enter examples of a featurizer of your own'
  return facts.unsupported.rstrip('.')


def file_names(runtime: Iterable[str]) -> list[str]:
  """Returns the names of the page and of the files of the runtime; none if there is no runtime."""
  inner = [f'{model_folder.LITERT_JS}/{name}' for name in runtime]
  return [model_folder.PAGE, *inner] if inner else []


def describe(model_dir: str, runtime: Mapping[str, bytes]) -> str:
  """Returns how to see the page of an export, or why there is none.

  Args:
    model_dir: The model folder.
    runtime: LiteRT.js by file name; none: nobody asked for a page.
  """
  if not runtime:
    return (
      f'No {model_folder.PAGE}: to try the model in a browser, type {litert_js.INSTALL}, and export with '
      f'--litert_js={litert_js.FOLDER}.'
    )
  if os.path.exists(os.path.join(model_dir, model_folder.PAGE)):
    return (
      f'To try the model in a browser, type python -m http.server --bind 127.0.0.1 --directory {model_dir}, and open '
      'http://127.0.0.1:8000/.'
    )
  with open(os.path.join(model_dir, preprocessing.FILE_NAME), encoding='utf-8') as file:
    facts = facts_lib.choose(json.load(file), run_directory.read_parity(model_dir)['variants'])
  return f'No {model_folder.PAGE}: {why_none(facts)}.'


def render(title: str, about: str, facts: facts_lib.Facts, ledger: Mapping[str, Any], runtime: Iterable[str]) -> str:
  """Returns the page.

  Args:
    title: What the model does.
    about: Which model it is.
    facts: Of the file that it runs.
    ledger: The privacy ledger of the run.
    runtime: The names of the files of LiteRT.js.
  """
  environment = templates.build_environment(__file__, autoescape=True)
  return environment.get_template(_TEMPLATE).render(
    title=title,
    about=about,
    facts=facts,
    privacy=str(privacy_statement.describe(ledger)),
    imports=litert_js.imports(runtime, f'./{model_folder.LITERT_JS}'),
    wasm=f'{model_folder.LITERT_JS}/{litert_js.WASM}',
  )
