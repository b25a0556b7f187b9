"""Charts of amounts: of files, of users by accuracy, and of classes that are taken for each other. A leaf."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from reporting import charts

if TYPE_CHECKING:
  from matplotlib import axes as axes_lib
  from matplotlib import patches

_ROW_INCHES = 0.42
_MATRIX_INCHES = (5.0, 4.7)
# More labels than these would cover each other.
_MOST_LABELS = 24
_LIGHTEST = 0.12
_SHADES = 20
# A larger factor between two numbers makes a scale logarithmic.
_WIDE = 10
# Edges of bins that a scale has space for.
_MOST_EDGES = 8


class Bar(NamedTuple):
  """A bar: its label, how long it is, and what is written at its end."""

  label: str
  value: float
  text: str


class Span(NamedTuple):
  """A point with a line to the right of it: its label, where both end, and what is written there."""

  label: str
  start: float
  stop: float
  text: str


def draw_bars(name: str, bars: Sequence[Bar], unit: str) -> str:
  """Returns an inline SVG with a bar below the other; '' without bars.

  Args:
    name: As for `charts.draw`.
    bars: From the top.
    unit: What the length of a bar is.
  """
  if not bars:
    return ''

  def fill(axes: 'axes_lib.Axes') -> None:
    axes.barh(range(len(bars)), [bar.value for bar in bars], height=0.6, color=charts.COLORS['series-1'])
    _label(axes, [(bar.label, bar.value, bar.text) for bar in bars], unit)
    # So that the longest bar leaves space for its text.
    axes.set_xlim(0, 1.3 * max(bar.value for bar in bars) or 1)
    axes.locator_params(axis='x', nbins=5)

  return charts.draw_axes(name, fill, (charts.SIZE[0], 0.9 + _ROW_INCHES * len(bars)), 'x')


def draw_spans(name: str, spans: Sequence[Span], unit: str) -> str:
  """Returns an inline SVG with a span below the other; '' without spans. The scale is logarithmic if they differ much.

  Args:
    name: As for `charts.draw`.
    spans: From the top, of positive numbers.
    unit: Of the numbers.
  """
  if not spans:
    return ''

  def fill(axes: 'axes_lib.Axes') -> None:
    from matplotlib import ticker

    color = charts.COLORS['series-1']
    low, high = min(span.start for span in spans), max(span.stop for span in spans)
    for index, span in enumerate(spans):
      axes.plot([span.start, span.stop], [index, index], color=color, lw=2)
      axes.plot(span.start, index, 'o', color=color, ms=7)
    _label(axes, [(span.label, span.stop, span.text) for span in spans], unit)
    # The text of the last one takes about a third of the width.
    axes.set_xlim(0, 1.5 * high)
    if high > _WIDE * low:
      axes.set_xscale('log')
      axes.set_xlim(low / 1.3, high * (high / low) ** 0.6 * 2)
      axes.xaxis.set_major_locator(ticker.LogLocator(numticks=4))
      axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.10g}'))

  return charts.draw_axes(name, fill, (charts.SIZE[0], 0.9 + _ROW_INCHES * len(spans)), 'x')


def _label(axes: 'axes_lib.Axes', rows: Sequence[tuple[str, float, str]], unit: str) -> None:
  """Writes the label of each row, and its text at its end."""
  color = charts.COLORS['ink']
  for index, (_, end, text) in enumerate(rows):
    axes.annotate(text, (end, index), (6, 0), textcoords='offset points', va='center', color=color, fontsize=10)
  axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
  axes.set_ylim(len(rows) - 0.5, -0.5)
  axes.set_xlabel(unit, color=color)


def draw_histogram(name: str, bins: Sequence[tuple[float, float, int]], unit: str) -> str:
  """Returns an inline SVG of how many there are in each bin of a share; '' without bins.

  Args:
    name: As for `charts.draw`.
    bins: Start, end and number.
    unit: What is counted.
  """
  if not bins:
    return ''

  def fill(axes: 'axes_lib.Axes') -> None:
    from matplotlib import ticker

    starts, stops, counts = zip(*bins, strict=True)
    widths = [0.92 * (stop - start) for start, stop in zip(starts, stops, strict=True)]
    axes.bar(
      [(start + stop) / 2 for start, stop in zip(starts, stops, strict=True)],
      counts,
      widths,
      color=charts.COLORS['series-1'],
    )
    edges = sorted({round(edge, 6) for edge in (*starts, *stops)})
    axes.set_xticks(edges[:: -(-len(edges) // _MOST_EDGES)])
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    axes.set_xlabel('accuracy', color=charts.COLORS['ink'])
    axes.set_ylabel(unit, color=charts.COLORS['ink'])

  return charts.draw_axes(name, fill)


def draw_matrix(name: str, matrix: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
  """Returns an inline SVG with a square for each share, the darker the larger; NaN is empty.

  Args:
    name: As for `charts.draw`.
    matrix: Of each true answer (a row) the share of each answer.
    labels: Of the rows and columns.
  """
  import numpy as np

  def fill(axes: 'axes_lib.Axes') -> None:
    shares = np.asarray(matrix)
    rows, columns = np.nonzero(shares > 0)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
      axes.add_patch(_square(row, column, float(shares[row, column])))
    indices = range(0, len(labels), -(-len(labels) // _MOST_LABELS))
    size = 10 if len(labels) <= 12 else 7
    turned = 90 if max(map(len, labels)) > 2 else 0
    axes.set_xticks(indices, [labels[index] for index in indices], fontsize=size, rotation=turned)
    axes.set_yticks(indices, [labels[index] for index in indices], fontsize=size)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
      tick.set_parse_math(False)  # A class may be a dollar sign.
    axes.set(xlim=(-0.5, len(labels) - 0.5), ylim=(len(labels) - 0.5, -0.5), aspect='equal')
    axes.set_xlabel('answer of the model', color=charts.COLORS['ink'])
    axes.set_ylabel('true answer', color=charts.COLORS['ink'])

  return charts.draw_axes(name, fill, _MATRIX_INCHES, '')


def _square(row: int, column: int, share: float) -> 'patches.Rectangle':
  from matplotlib import patches as drawn

  color = charts.COLORS['series-1' if row == column else 'series-2']
  # In steps, which an eye does not see: a published opacity gives no exact share. A small share is still seen.
  share = round(share * _SHADES) / _SHADES
  return drawn.Rectangle(
    (column - 0.46, row - 0.46), 0.92, 0.92, color=color, alpha=_LIGHTEST + (1 - _LIGHTEST) * share, lw=0
  )
