"""The model card: what a person who puts the file on a device has to know, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from common import printable
from contracts import comparison
from contracts import guarantees
from contracts import held_out_figures
from contracts import personalization
from contracts import run_directory
from export import privacy_statement
from export import step_usage
from export import templates
from export import timing
from export import usage
from export.card import advice
from export.card import released
from export.forms import registry as forms
from export.snippets import facts as facts_lib

_TEMPLATE = 'model_card.md.j2'
# Inputs or outputs that a cell of a table lists.
_MOST_ENDS = 4


def render(
  model: Mapping[str, Any],
  steps: Mapping[str, Any],
  parity: Mapping[str, Any],
  privacy: Mapping[str, Any],
  run: Mapping[str, Any],
  flags: Sequence[str],
  export_flags: Sequence[str],
  versions: Mapping[str, str],
  figures: held_out_figures.Figures | None = None,
  counts: Mapping[str, Mapping[str, int]] | None = None,
) -> str:
  """Returns the text of the card, in Markdown. A line `<!-- figures: NAME NAME -->` stands where plots are.

  Args:
    model: task, data_set and run (their names), fingerprint (of the data set), schema, round, weights, num_classes,
      stated (`facts.Credits`), and `signatures`: of the files by form, a list of rows (kind, name, dtype, shape).
    steps: What preprocessing.json holds.
    parity: What parity.json holds.
    privacy: The run's privacy.json; empty if it left none.
    run: The run's run.json; empty if it left none.
    flags: The run's, as lines of a flag file, secrets withheld.
    export_flags: Those of the export, without its folders.
    versions: Package name to version.
    figures: Of held-out users, if the card is to publish them.
    counts: Of the clients and examples of each split, likewise; without splits of few clients.
  """
  template = _make_environment().get_template(_TEMPLATE)
  return template.render(
    model=model,
    names=_PRIVACY_NAMES,
    parity=parity,
    privacy=privacy,
    person=guarantees.UNIT,
    run=run,
    versions=versions,
    forms=forms.FORMS,
    timing_note=timing.NOTE,
    usage=usage.describe(steps['examples']) if 'input' in steps else None,
    step=_describe_step(steps, parity['variants']),
    training=steps.get('training'),
    comparison=comparison.describe(run),
    reconstruction=' '.join(personalization.describe(run)[:1]),
    statement=privacy_statement.describe(privacy),
    explanation=privacy_statement.explain(privacy),
    schema=model['schema'],
    stated=model['stated'],
    choice=advice.choose(parity),
    limits=advice.list_limits(model['schema'], model['data_set'], privacy, parity),
    **_describe_flags(flags),
    commands=advice.list_commands(export_flags),
    released=released.list_here(parity, privacy),
    figures=figures,
    counts=counts,
    few=held_out_figures.FEW,
    omitted=held_out_figures.describe_omitted(figures) if figures else '',
  )


def _describe_flags(flags: Sequence[str]) -> dict[str, list[str]]:
  """Returns the flags to show, and which of them are secret."""
  names = {line: line.removeprefix('--').partition('=')[0] for line in flags}
  shown = [line for line, name in names.items() if not name.endswith(_PATHS)]
  return {
    'flags': shown,
    'withheld_flags': [f'`--{names[line]}`' for line in shown if line.endswith(f'={run_directory.WITHHELD}')],
  }


def _make_environment() -> jinja2.Environment:
  environment = templates.build_environment(__file__, autoescape=False)
  environment.filters.update(
    cell=_cell,
    delta=guarantees.format_delta,
    ends=_describe_ends,
    epsilon=guarantees.format_epsilon,
    line=printable.show,
    sentence=printable.close,
  )
  return environment


def _describe_step(steps: Mapping[str, Any], variants: Mapping[str, Any]) -> step_usage.StepUsage | None:
  """Returns how to feed the step file that an app would take, if there is one."""
  return step_usage.describe(facts_lib.choose(steps, variants)) if 'step' in steps else None


def _describe_ends(ends: Sequence[Mapping[str, Any]]) -> str:
  """Returns inputs or outputs of a training file: `x` float32 [20, 28, 28] and so on."""
  if len(ends) > _MOST_ENDS:
    return f'`{ends[0]["name"]}` to `{ends[-1]["name"]}`, all weights'
  return ', '.join(f'`{end["name"]}` {end["dtype"]} {list(end["shape"])}' for end in ends)


# Flags with paths of the machine that trained: they mean nothing elsewhere, and may name somebody.
_PATHS = ('_dir', 'branch_from')
_PRIVACY_NAMES = {'bound': 'Bound', 'noise': 'Noise', 'assumption': 'Assumption', 'trust_model': 'Who sees what'}


def _cell(value: object) -> str:
  """Keeps a value that somebody typed from being read as Markdown or HTML."""
  text = printable.show(' '.join(str(value).split()))
  for special in '\\`*_<>|[]':
    text = text.replace(special, f'\\{special}')
  return text
