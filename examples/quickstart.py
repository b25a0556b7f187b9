"""The whole way on the embedded data: raw logs, client shards, private rounds, checked TFLite files.

  python -m examples.quickstart

Runs the three programs exactly as one would type them, says what each does, and gathers their figures in summary.json.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from typing import Any

from absl import flags

from common import cli
from common import files
from contracts import comparison
from contracts import guarantees
from contracts import run_directory

_OUTPUT_DIR = flags.DEFINE_string('output_dir', 'runs/quickstart', 'Where shards, run, model and summary.json go.')
_TOTAL_ROUNDS = flags.DEFINE_integer(
  'total_rounds', None, 'Fewer rounds than the preset, to see the way without waiting for the model.', lower_bound=1
)

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SUMMARY = (
  'accuracy',
  'accuracy_per_user',
  'baseline',
  'baseline_accuracy',
  'coverage',
  'epsilon',
  'delta',
  'rounds',
  'clients_per_round',
)
_VARIANT = ('path', 'bytes', 'argmax_agreement', 'max_logit_difference', 'accuracy')


def main() -> None:
  """Runs the three programs and prints what came of it."""
  shards, run, model = (os.path.join(_OUTPUT_DIR.value, name) for name in ('shards', 'run', 'model'))
  rounds = [f'--total_rounds={_TOTAL_ROUNDS.value}'] if _TOTAL_ROUNDS.value else []
  seconds = {
    'preprocess': _step(
      '1/3  Raw logs to client shards, with Apache Beam',
      'pipelines.preprocess',
      f'--dataset={_ours("configs/datasets/shakespeare_characters.toml")}',
      f'--input={_ours("examples/shakespeare/utterances.jsonl.gz")}',
      f'--output_dir={shards}',
    ),
    'train': _step(
      '2/3  Federated rounds: DP-FedAvg with quantized updates',
      'tff_tasks.train',
      f'--flagfile={_ours("configs/shakespeare_quickstart.flags")}',
      f'--shards_dir={shards}',
      f'--output_dir={run}',
      *rounds,
    ),
    'export': _step(
      '3/3  TFLite files, checked on the device runtime',
      'export.to_tflite',
      f'--run_dir={run}',
      f'--output_dir={model}',
    ),
  }
  summary = summarize(run, model, seconds)
  path = os.path.join(_OUTPUT_DIR.value, 'summary.json')
  files.write_atomically(path, json.dumps(summary, indent=1) + '\n')
  figures, privacy = (run_directory.read_json(run, name) for name in (run_directory.FIGURES, run_directory.LEDGER))
  print('\n' + describe(summary, figures, privacy, run, path))


def summarize(run_dir: str, model_dir: str, seconds: dict[str, float]) -> dict[str, Any]:
  """Returns the figures of a finished run and its model folder, for programs to read.

  Args:
    run_dir: What training wrote.
    model_dir: What export wrote.
    seconds: Wall time of each stage; a stage that found its work done took little.
  """
  run = run_directory.read_json(run_dir, run_directory.FIGURES)
  variants = run_directory.read_parity(model_dir)['variants']
  return {
    **{name: run[name] for name in _SUMMARY},
    'seconds': {**seconds, 'train': max(run['seconds'], seconds['train'])},
    'tflite': {
      name: {**{key: variant[key] for key in _VARIANT}, 'path': os.path.join(model_dir, variant['path'])}
      for name, variant in variants.items()
    },
  }


def describe(summary: dict[str, Any], run: dict[str, Any], privacy: dict[str, Any], run_dir: str, path: str) -> str:
  """Returns the same figures for people."""
  best, by_key = (summary['tflite'][name] for name in ('dynamic_range', 'step_dynamic_range'))
  lines = [
    f'Model      {best["path"]}  ({best["bytes"] / 1000:.0f} kB; float32 beside it)',
    f'By key     {by_key["path"]}  ({by_key["bytes"] / 1000:.0f} kB; one character a call)',
    f'Accuracy   {summary["accuracy"]:.1%} of the next characters of held-out users, '
    f'{summary["accuracy_per_user"]:.1%} as a mean over them',
    f'Baseline   {comparison.name_baselines(run)}',
    *([f'           {comparison.judge(run)}'] if comparison.judge(run) else []),
    f'Coverage   {summary["coverage"]:.1%} of the next characters are ones that the model can give',
    f'Privacy    {_describe_privacy(summary, privacy)}',
    f'           {privacy["scaling"]}',
  ]
  lines += [
    f'Agreement  {name}: the same character as Keras at {variant["argmax_agreement"]:.2%} of positions, '
    f'logits within {variant["max_logit_difference"]:.2g}'
    for name, variant in summary['tflite'].items()
  ]
  return '\n'.join([*lines, f'Report     {os.path.join(run_dir, run_directory.REPORT)}', f'Summary    {path}'])


def _ours(path: str) -> str:
  """Returns where a file of the project is, from here or as a whole."""
  return path if os.getcwd() == _ROOT else os.path.join(_ROOT, path)


def _describe_privacy(summary: dict[str, Any], privacy: dict[str, Any]) -> str:
  if summary['epsilon'] is None:
    return f'no guarantee: {privacy["no_promise"]}'
  epsilon, delta = guarantees.format_epsilon(summary['epsilon']), guarantees.format_delta(summary['delta'])
  return f'epsilon {epsilon} at delta {delta}, for {privacy["covers"]}'


def _step(title: str, module: str, *arguments: str) -> float:
  """Runs one program to its end and returns its wall time; the program's failure is ours."""
  print(f'\n{title}\n$ python -m {module} {shlex.join(arguments)}', flush=True)
  started = time.monotonic()
  program = subprocess.Popen([sys.executable, '-m', module, *arguments], env=_environment())
  try:
    code = program.wait()
  except BaseException:
    program.terminate()
    program.wait()
    raise
  if code:
    sys.exit(code)
  return time.monotonic() - started


def _environment() -> dict[str, str]:
  """Returns the environment of a step: it finds our packages, and in the current folder none that has their name."""
  path = os.pathsep.join([_ROOT, *filter(None, [os.environ.get('PYTHONPATH')])])
  return {**cli.step_environment(), 'PYTHONPATH': path, 'PYTHONSAFEPATH': '1'}


if __name__ == '__main__':
  cli.run(main)
