"""Runs the JavaScript snippets in a browser."""

from collections.abc import Mapping
import json
from typing import Any

from export.browser import chromium
from export.browser import litert_js

_PAGE = """<!doctype html><meta charset="utf-8">
<script type="importmap">IMPORTS</script>
<script type="module">
const post = (path, body) => fetch(path, {method: 'POST', body});
try {
  const {loadLiteRt} = await import('@litertjs/core');
  await loadLiteRt('/litert/wasm/');
BODY
  await post('/done', '');
} catch (error) {
  await post('/error', `${error?.stack ?? error}`);
}
</script>
"""
_PREDICTION = """
  for (const [kind, {given, wrong}] of Object.entries(await (await fetch('/given.json')).json())) {
    const {Predictor} = await import(`/${kind}/snippets/predict.mjs`);
    const predictor = await Predictor.load(`/${kind}/`);
    const features =
      predictor.cut ? predictor.toCodes(predictor.cut(given)) : given.map((each) => predictor.makeFeatures(each));
    let logits = [];
    if (predictor.feed) for (const code of features) logits.push(await predictor.feed(code));
    else if (predictor.cut) logits = await predictor.run(features);
    else for (const each of features) logits.push(await predictor.run(each));
    const answers = logits.map((each) => predictor.best(each, 2));
    const last = await predictor.predict(predictor.cut ? given : given.at(-1), 2);
    if (String(last) !== String(answers.at(-1))) throw new Error(`Expected ${answers.at(-1)}, found ${last}.`);
    const found = await predictor.predict(wrong).catch((error) => error.message);
    logits = logits.map((each) => Array.from(each));
    await post(`/${kind}`, JSON.stringify({features, wrong: found, logits, answers}));
  }
"""
_TRAINING = """
  const {Trainer} = await import('/model/snippets/train.mjs');
  const {Predictor} = await import('/model/snippets/predict.mjs');
  const given = await (await fetch('/given.json')).json();
  const predictor = await Predictor.load('/model/');
  const trainer = await Trainer.load('/model/');
  const features = given.map((each) => predictor.makeFeatures(each));
  const infer = async () => Array.from(await trainer.infer(features[0]));
  const untrained = await infer();
  const losses = await trainer.train(features, [0, 1, 1, 0, 0], 2);
  const trained = await infer();
  const weights = await trainer.getWeights();
  await trainer.reset();
  const reset = await infer();
  await trainer.setWeights(weights);
  const loaded = await infer();
  await post('/found', JSON.stringify({untrained, losses, trained, reset, loaded}));
"""


def run(
  chromium_path: str, runtime: Mapping[str, bytes], folders: Mapping[str, str], given: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
  """Returns the features that the snippets of model folders make, their logits, and the best two answers, by kind.

  Args:
    chromium_path: The browser.
    runtime: LiteRT.js, see `litert_js.read`.
    folders: The model folders.
    given: What each snippet is given, and what is wrong or empty: what it answers to that is `wrong`.
  """
  posted = _run(chromium_path, runtime, _PREDICTION, {f'/{kind}/': folder for kind, folder in folders.items()}, given)
  return {kind: json.loads(posted[f'/{kind}']) for kind in folders}


def train(chromium_path: str, runtime: Mapping[str, bytes], folder: str, given: Any) -> dict[str, Any]:
  """Returns losses, and logits of the first example before and after, of the snippet of a table that trains twice."""
  return json.loads(_run(chromium_path, runtime, _TRAINING, {'/model/': folder}, given)['/found'])


def _run(
  chromium_path: str, runtime: Mapping[str, bytes], body: str, folders: Mapping[str, str], given: Any
) -> dict[str, bytes]:
  page = _PAGE.replace('IMPORTS', json.dumps(litert_js.imports(runtime, '/litert'))).replace('BODY', body)
  site: dict[str, str | bytes] = {f'/litert/{name}': content for name, content in runtime.items()}
  site |= {**folders, '/given.json': json.dumps(given).encode(), '/page.html': page.encode()}
  return chromium.run(chromium_path, site, '/page.html', 120)
