"""The report of a run: one HTML file without any outside part, for people. Needs no TensorFlow.

Written after training, and again with the model files' figures after an export.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
import hashlib
import math
import os
import re
from typing import Any, NamedTuple

import markupsafe

from common import files
from common import printable
from contracts import comparison
from contracts import guarantees
from contracts import held_out_figures
from contracts import personalization
from contracts import run_directory
from reporting import charts
from reporting import held_out_charts
from reporting import user_chart

_TEMPLATE = 'report.html.j2'
_LAST_ROUNDS = 10  # Long enough that one cohort makes no difference.
_GAP = 0.005  # The smallest difference of two accuracies that is visible.
_ALL = 0.999  # The share of updates from which on the others do not matter.
_FLAG = re.compile('--[a-z_]+')
# The text before the checksum, at the end of the page.
_MARK = '<!-- sha256 of the page above: '


class Chart(NamedTuple):
  """A drawing with its title, how to read it and what to do; the drawing is empty if nothing was measured."""

  title: str
  text: str
  svg: markupsafe.Markup
  note: str | None = None


def write_report(run_dir: str, model_dir: str | None = None) -> str:
  """Writes report.html into a run directory, whole or not at all, and returns its path.

  Args:
    run_dir: Holds what training wrote; a figure that is missing is shown as not measured.
    model_dir: Holds what export wrote, if there was one.

  Raises:
    ValueError: If one of the files read is damaged.
    OSError: If the directory cannot be written.
  """
  import jinja2  # Here, so that a training program imports it when its rounds are done.

  run, privacy = run_directory.read_figures(run_dir), run_directory.read_json(run_dir, run_directory.LEDGER)
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(__file__)), autoescape=True, trim_blocks=True, lstrip_blocks=True
  )
  environment.filters.update(
    percent=_percent,
    number=_number,
    size=_size,
    duration=_duration,
    epsilon=_epsilon,
    delta=_delta,
    flags=_mark_flags,
    sentence=printable.close,
  )
  metrics = run_directory.read_metrics(run_dir)
  held_out = held_out_figures.read(run_dir, privacy.get('model'))
  page = environment.get_template(_TEMPLATE).render(
    name=files.short_name(run_dir),
    run=run,
    compared=comparison.describe(run),
    verdict=comparison.judge(run),
    privacy=privacy,
    person=guarantees.UNIT,
    parity=run_directory.read_parity(model_dir) if model_dir else {},
    flags=run_directory.read_flag_lines(run_dir),
    personalized=personalization.describe(run),
    users=user_chart.draw(
      personalization.read(run_dir, run),
      'reconstruction' if personalization.has_local_layers(run) else 'fine-tuning',
    ),
    held_out=held_out,
    # Safe to mark: drawn from numbers and from escaped names.
    held_out_charts={name: markupsafe.Markup(svg) for name, svg in held_out_charts.draw(held_out).items()},
    charts=_draw_charts(metrics, privacy, run),
    about='' if _has_equal_cohorts(metrics, run) else 'about ',
  )
  run_directory.make(run_dir)
  path = os.path.join(run_dir, run_directory.REPORT)
  page = printable.show(page)
  files.write_atomically(path, page + _checksum(page))
  return path


def is_whole(run_dir: str) -> bool:
  """Returns whether the report in a run directory is there, as it was written."""
  try:
    with open(os.path.join(run_dir, run_directory.REPORT), encoding='utf-8', newline='') as file:
      page, _, _ = (text := file.read()).rpartition(_MARK)
  except (OSError, UnicodeDecodeError):
    return False
  return text == page + _checksum(page)


def _checksum(page: str) -> str:
  return f'{_MARK}{hashlib.sha256(page.encode()).hexdigest()} -->\n'


def _has_equal_cohorts(metrics: Mapping[str, Sequence[float]], run: Mapping[str, Any]) -> bool:
  """Returns whether each round had as many clients as were asked for: most samplers draw about so many."""
  cohorts = {clients for clients in metrics.get('clients', ()) if math.isfinite(clients)}
  return cohorts == {run.get('clients_per_round')}


def _draw_charts(
  metrics: Mapping[str, Sequence[float]], privacy: Mapping[str, Any], run: Mapping[str, Any]
) -> list[Chart]:
  rounds = metrics.get('round', ())

  def lines(**labels: str) -> list[charts.Series]:
    return [charts.Series(label, metrics.get(name, [math.nan] * len(rounds))) for name, label in labels.items()]

  def chart(title: str, text: str, series: Sequence[charts.Series], note: str | None = None, **options: Any) -> Chart:
    name = title.lower().replace(' ', '-')
    # Safe to mark: drawn from numbers and from the words below.
    return Chart(title, text, markupsafe.Markup(charts.draw(name, rounds, charts.Chart(series, **options))), note)

  clip_norm, baseline = privacy.get('clip_norm'), run.get('eval_baseline_accuracy')
  eval_split = run.get('eval_split', 'test')
  limit = None if baseline is None else (run['baseline'], baseline)
  is_reconstructed = 'eval_after_reconstruction' in metrics
  draw = _draw_reconstructed if is_reconstructed else _draw_accuracy
  of_accuracy = functools.partial(chart, unit='percent', limit=limit)
  held_out = 'held-out, before reconstruction' if is_reconstructed else 'held-out'
  return [
    *draw(of_accuracy, lines, f'users who took no part ({eval_split} split)', _explain_gap(metrics)),
    chart('Loss', 'Cross entropy in nats; lower is better.', lines(loss='training', eval_loss=held_out)),
    chart(
      'Privacy spent',
      'Epsilon of all models so far; lower protects more.',
      lines(epsilon='epsilon'),
      from_zero=True,
    ),
    chart(
      'Traffic per client',
      'Bytes that one client sends up and receives in a round.',
      lines(bytes_up_per_client='up', bytes_down_per_client='down'),
      unit='bytes',
      from_zero=True,
    ),
    chart(
      'Update norms',
      'L2 norm of what clients send, before it is clipped.',
      lines(update_norm_mean='mean', update_norm_max='largest'),
      limit=None if clip_norm is None else ('clip', clip_norm),
      from_zero=True,
    ),
    chart(
      'Clipped updates',
      'Share of clients whose update was longer than the clip.',
      lines(clipped_share='clipped'),
      _explain_clipping(metrics),
      unit='percent',
      from_zero=True,
    ),
  ]


def _draw_accuracy(
  chart: Callable[..., Chart], lines: Callable[..., list[charts.Series]], whom: str, note: str | None
) -> list[Chart]:
  series = lines(accuracy='training', eval_accuracy='held-out', eval_accuracy_per_user='held-out, by user')
  return [chart('Accuracy', f'Training users as they learn, and {whom}.', series, note)]


def _draw_reconstructed(
  chart: Callable[..., Chart], lines: Callable[..., list[charts.Series]], whom: str, note: str | None
) -> list[Chart]:
  """Returns the accuracies of a model with local layers; `note` explains another gap."""
  del note
  means = lines(
    accuracy='training, reconstructed',
    eval_after_reconstruction='held-out, reconstructed',
    eval_before_reconstruction='held-out, before',
  )
  lowest = lines(
    eval_worst_decile_after_reconstruction='reconstructed', eval_worst_decile_before_reconstruction='before'
  )
  text = f'Training users as they learn, and, as a mean over users, {whom}: before and after reconstruction.'
  return [
    chart('Accuracy', text, means),
    chart('Accuracy of the lowest tenth', f'The tenth with the lowest accuracy of the {whom}.', lowest),
  ]


def _explain_gap(metrics: Mapping[str, Sequence[float]]) -> str | None:
  """Returns why training may lie below held-out, if it does in the last rounds."""
  training, held_out = (_latest(metrics, name) for name in ('accuracy', 'eval_accuracy'))
  if training is None or held_out is None or training > held_out - _GAP:
    return None
  return (
    'Training lies below held-out because it is measured while clients train, on each batch before its step, from '
    'the model that the round began with; held-out is measured with the model that the round gave. Where both curves '
    'are flat and the gap stays, the local steps are too large: lower --client_learning_rate.'
  )


def _explain_clipping(metrics: Mapping[str, Sequence[float]]) -> str | None:
  """Returns what it means that all updates are clipped, if they are in the last rounds."""
  clipped = _latest(metrics, 'clipped_share')
  if clipped is None or clipped < _ALL:
    return None
  return (
    'Every update was longer than the clip: only its direction counts, and --clip_norm alone sets how far a client '
    'moves the model. If the loss falls slowly, raise --clip_norm (the noise grows with it) or '
    '--server_learning_rate; if the norms grow from round to round, lower --client_learning_rate.'
  )


def _latest(metrics: Mapping[str, Sequence[float]], name: str) -> float | None:
  """Returns the mean of what the last rounds measured, None if nothing was."""
  values = [value for value in metrics.get(name, ())[-_LAST_ROUNDS:] if math.isfinite(value)]
  return sum(values) / len(values) if values else None


def _percent(value: float | None, digits: int = 1) -> str:
  return '–' if value is None else f'{value:.{digits}%}'.replace('%', '\N{NARROW NO-BREAK SPACE}%')


def _number(value: float | None, digits: int = 3) -> str:
  if value is None:
    return '–'
  return f'{value:,}' if isinstance(value, int) else f'{value:.{digits}g}'


def _epsilon(value: float | None) -> str:
  return '–' if value is None else guarantees.format_epsilon(value)


def _delta(value: float | None) -> str:
  return '–' if value is None else guarantees.format_delta(value)


def _mark_flags(text: object) -> markupsafe.Markup:
  """Returns a text as HTML in which no line ends within the name of a flag, such as after its first hyphen."""
  return markupsafe.Markup(_FLAG.sub(r'<span class="flag">\g<0></span>', str(markupsafe.escape(text))))


def _size(count: int) -> str:
  return f'{count / 1000:,.0f}\N{NARROW NO-BREAK SPACE}kB'


def _duration(seconds: float | None) -> str:
  if seconds is None:
    return '–'
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  parts = ((hours, 'h'), (minutes, 'min'), (0 if hours else rest, 's'))
  return ' '.join(f'{count}\N{NARROW NO-BREAK SPACE}{unit}' for count, unit in parts if count) or '0 s'
