"""The figures of a data set for people: as text, and as one HTML page without any outside part."""

from collections.abc import Mapping
import itertools
import os
from typing import Any, NamedTuple

import jinja2
import numpy as np

from common import files
from common import printable
from pipelines.inspection import drawing
from pipelines.inspection import inspection
from pipelines.inspection import label_skew

NOT_PRIVATE = 'These figures are exact: they are for the operator of the data set, and not private.'

_TEMPLATE = 'inspection.html.j2'
_LABELS_LISTED = 20
# What a page says of an entry of the manifest's `learned`; the rest (every word of a vocabulary) stays there.
_LEARNED = ('what', 'source', 'mechanism', 'epsilon', 'delta', 'unit')


class Chart(NamedTuple):
  """A drawing with its title and how to read it."""

  title: str
  text: str
  drawing: drawing.Drawing


def describe(figures: inspection.Figures) -> str:
  """Returns the figures as text."""
  blocks = [
    [_headline(figures)],
    _describe_splits(figures),
    [f'Training {figures.who}s by their number of examples:', *_list_sizes(figures.sizes)]
    if figures.sizes.counts
    else [],
    _describe_labels(figures),
    _describe_skew(figures.skew, figures.who) if figures.skew else [],
    _describe_rows(figures),
    _describe_origin(figures),
    [f'Warning: {warning}' for warning in figures.manifest.get('warnings', [])],
    [NOT_PRIVATE],
  ]
  return '\n\n'.join('\n'.join(block) for block in blocks if block)


def _headline(figures: inspection.Figures) -> str:
  schema = figures.schema
  total = sum(spread.examples for spread in figures.spreads.values())
  whom = f'{"simulated " * (figures.who == "client")}{figures.who}s'
  return (
    f'{figures.data_set} in {figures.name}: {figures.users:,} {whom}, {total:,} examples for {schema.task} '
    f'({_form(schema.feature)} -> {_form(schema.label)}, {schema.num_classes:,} classes)'
  )


def _split_meanings(figures: inspection.Figures) -> dict[str, str]:
  who = figures.who
  return {
    'train': 'to learn from',
    'tail': f"held-out part of the same {who}s' examples",
    'validation': f'held-out {who}s, to choose by',
    'test': f'held-out {who}s, for the final measurement',
  }


def _form(feature: Any) -> str:
  return f'{feature.name} {feature.dtype}{list(feature.shape) or ""}'


def _describe_splits(figures: inspection.Figures) -> list[str]:
  rows: list[tuple[str, ...]] = [('split', f'{figures.who}s', 'examples', 'min', 'median', 'mean', 'max', '')]
  for split, spread in figures.spreads.items():
    numbers = [f'{number:,}' for number in (spread.clients, spread.examples, spread.least)]
    means = [f'{spread.median:,.6g}', f'{spread.mean:,.1f}', f'{spread.most:,}']
    rows.append((split, *numbers, *means, _split_meanings(figures)[split]))
  return [*_align(rows), *filter(None, [explain_empty(figures)])]


def _align(rows: list[tuple[str, ...]]) -> list[str]:
  """Returns the rows of a table as lines, all columns but the first and the last to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
    '  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]]).rstrip() for row in rows
  ]


def explain_empty(figures: inspection.Figures) -> str:
  """Returns a sentence on the training users without examples; empty if there are none."""
  empty = figures.spreads['train'].empty if 'train' in figures.spreads else 0
  return f'Besides, {empty:,} training {figures.who}s without examples: they count in the population.' if empty else ''


def _describe_labels(figures: inspection.Figures) -> list[str]:
  rows = [(name, *(f'{count:,}' for count in counts), '') for name, counts in list_labels(figures)]
  table = [title_labels(figures), *_align([('label', *figures.labels.counts, ''), *rows])] if rows else []
  return [*table, *explain_majority(figures)]


def explain_majority(figures: inspection.Figures) -> list[str]:
  """Returns sentences on what a model has to beat on the test users and can reach, if they have a label."""
  counts = figures.labels.counts.get('test', np.zeros(1, int))
  if not counts.any():
    return []
  name, share = figures.schema.classes[counts.argmax()], counts.max() / counts.sum()
  beat = (
    f'Always answering {name!r} is right {share:.1%} of the time on the test {figures.who}s: a model has to beat that.'
  )
  unknown = figures.labels.unknown.get('test', 0)
  if not unknown:
    return [beat]
  total = int(counts.sum()) + unknown
  coverage = (
    f'Coverage: {(total - unknown) / total:.1%} of the {total:,} true answers of the test {figures.who}s are ones that '
    'a model can give; accuracy is measured on these alone.'
  )
  return [beat, coverage]


def title_labels(figures: inspection.Figures) -> str:
  """Returns the heading of the table of labels, which says whose they are."""
  looked_at, splits = figures.labels.clients, figures.spreads
  if all(looked_at[split] == spread.clients for split, spread in splits.items()):
    return 'Labels by split:'
  return f'Labels by split, of at most {inspection.MOST_SAMPLED:,} {figures.who}s each:'


def list_labels(figures: inspection.Figures) -> list[tuple[str, list[int]]]:
  """Returns the most frequent labels with their count in each split, and what all others have together."""
  table = np.stack(list(figures.labels.counts.values()), axis=1) if figures.labels.counts else np.zeros((0, 0), int)
  order = np.argsort(-table.sum(axis=1), kind='stable')
  order = order[table[order].any(axis=1)]
  listed = [(figures.schema.classes[label], table[label].tolist()) for label in order[:_LABELS_LISTED]]
  others = order[_LABELS_LISTED:]
  if len(others):
    listed.append((f'{len(others):,} others', table[others].sum(axis=0).tolist()))
  return [(repr(name) if name != name.strip() else name, counts) for name, counts in listed]


def _list_sizes(sizes: inspection.Histogram) -> list[str]:
  labels = [f'{low:,}' if high == low + 1 else f'{low:,}–{high - 1:,}' for low, high in itertools.pairwise(sizes.edges)]
  return drawing.list_bars(labels, sizes.counts)


def _describe_skew(skew: label_skew.Skew, who: str) -> list[str]:
  low, middle, high = (f'{share:.0%}' for share in skew.top_shares)
  ranges = [f'{start:.0%}–{stop:.0%}' for start, stop in itertools.pairwise(label_skew.SHARES)]
  filled = np.flatnonzero(skew.histogram)
  shown = slice(filled[0], filled[-1] + 1)
  return [
    f'Training {who}s by the share of their most frequent label ({skew.clients:,} looked at):',
    *drawing.list_bars(ranges[shown], skew.histogram[shown]),
    f'A tenth of them are below {low}, half below {middle}, nine tenths below {high}; over all their examples '
    f'{skew.overall_top!r} has {skew.overall_top_share:.0%}.',
    f'A {who} has {skew.classes_seen:g} different labels (median). {explain_distance(skew, who)}',
  ]


def explain_distance(skew: label_skew.Skew, who: str) -> str:
  """Returns a sentence or two on the distance between the labels of one user (or client, `who`) and those of all."""
  return (
    f"The distribution of a {who}'s labels is {skew.distance:.2f} (total variation, mean) from that of all; "
    f'{skew.distance_by_chance:.2f} would be chance.'
  )


def _describe_rows(figures: inspection.Figures) -> list[str]:
  rows = figures.manifest['rows']
  quarantined = sum(rows['quarantined'].values())
  return [
    f'Rows: {rows["read"]:,} read = {rows["used"]:,} used + {rows["bounded"]:,} removed by a limit + '
    f'{quarantined:,} quarantined',
    *drawing.list_bars(list(figures.dropped), list(figures.dropped.values())),
  ]


def _describe_origin(figures: inspection.Figures) -> list[str]:
  manifest = figures.manifest
  lines = [f'{what}: {name_entry(counts)}' for what, counts in _reasons(figures)[2:] if counts]
  if manifest.get('limits'):
    lines.append(f'Limits: {name_entry(manifest["limits"])}')
  lines += [f'Learned: {name_entry(entry)}' for entry in learned(manifest)] or ['Learned: nothing']
  lines += [f'Forgotten: {name_entry(entry)}' for entry in manifest.get('forgotten', [])] or ['Forgotten: nobody']
  return lines


def _reasons(figures: inspection.Figures) -> list[tuple[str, dict[str, int]]]:
  """Returns what was dropped or noted, and how many for which reason."""
  manifest = figures.manifest
  return [
    ('Rows quarantined', manifest['rows']['quarantined']),
    ('Rows removed by a limit', manifest.get('bounded_by', {})),
    (f'Training {figures.who}s without examples', manifest.get('empty_clients', {})),
    (f'Held-out {figures.who}s set aside', manifest.get('clients_set_aside', {})),
    ('Noted', manifest.get('notes', {})),
  ]


def learned(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns what the examples rest on besides each client's own rows, and what it cost in privacy."""
  return [{key: entry[key] for key in _LEARNED if key in entry} for entry in manifest.get('learned', [])]


def name_entry(entry: Mapping[str, Any]) -> str:
  """Returns an entry of the manifest in one line."""
  shown = ((key, f'{value:,}' if isinstance(value, int) else value) for key, value in entry.items() if key != 'what')
  details = ', '.join(f'{key} {value}' for key, value in shown)
  return f'{entry["what"]}: {details}' if 'what' in entry else details


def write_page(figures: inspection.Figures, path: str) -> None:
  """Writes the figures and their charts as a page, whole or not at all.

  Raises:
    OSError: If it cannot be written.
  """
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(__file__)),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.filters.update(number='{:,}'.format, entry=name_entry)
  page = environment.get_template(_TEMPLATE).render(
    figures=figures,
    charts=_draw_charts(figures),
    meanings=_split_meanings(figures),
    learned=learned(figures.manifest),
    reasons=_reasons(figures),
    note=NOT_PRIVATE,
    form=_form,
    labels=list_labels(figures),
    majority=explain_majority(figures),
    empty=explain_empty(figures),
    labels_title=title_labels(figures),
  )
  files.write_atomically(path, printable.show(page))


def _draw_charts(figures: inspection.Figures) -> list[Chart]:
  charts, who = [], figures.who
  if figures.sizes.counts:
    sizes = drawing.draw_sizes(*figures.sizes, 'examples', f'{who}s')
    charts.append(Chart(f'Examples per {who}', f'Training {who}s by their number of examples.', sizes))
  if figures.skew:
    text = (
      f'{figures.skew.clients:,} training {who}s by the share that their most frequent label has. '
      f'{explain_distance(figures.skew, who)}'
    )
    shares = drawing.draw_shares(label_skew.SHARES, figures.skew.histogram, f"share of a {who}'s examples", f'{who}s')
    charts.append(Chart(f'Label skew between {who}s', text, shares))
  if figures.dropped:
    reasons = drawing.draw_reasons(figures.dropped)
    charts.append(Chart('Dropped rows', 'Rows of the input that no example draws on, by reason.', reasons))
  return charts
