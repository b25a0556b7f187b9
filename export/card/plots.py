"""The plots of the model card, as inline SVG by name. What there is nothing to show of is empty."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts import held_out_figures
from reporting import bar_charts
from reporting import held_out_charts

_CAPTIONS = {
  'sizes': 'Size of each file.',
  'latencies': 'Time of a call: the median (the point), and how long 95% of the calls take at most.',
  'users': 'Held-out users by accuracy. Not private.',
  'confusion': (
    'Of each true answer, the share of the answers of the model: a darker square is a larger share. Not private.'
  ),
}


def draw(parity: Mapping[str, Any], figures: held_out_figures.Figures | None) -> dict[str, tuple[str, str]]:
  """Returns what each plot shows, and the plot.

  Args:
    parity: What parity.json says.
    figures: Of held-out users, if the card is to show them: those from few users are omitted.
  """
  variants = parity['variants']
  drawn = {
    'sizes': bar_charts.draw_bars('sizes', _list_sizes(variants), 'kB (1,000 bytes)'),
    'latencies': bar_charts.draw_spans('latencies', _list_latencies(variants), 'microseconds a call'),
    **held_out_charts.draw(figures, held_out_figures.FEW),
  }
  return {name: (_CAPTIONS[name], svg) for name, svg in drawn.items()}


def _list_sizes(variants: Mapping[str, Mapping[str, Any]]) -> Sequence[bar_charts.Bar]:
  return [
    bar_charts.Bar(name, each['bytes'] / 1000, f'{each["bytes"] / 1000:,.0f} kB') for name, each in variants.items()
  ]


def _list_latencies(variants: Mapping[str, Mapping[str, Any]]) -> Sequence[bar_charts.Span]:
  timed = {name: each['latency_us'] for name, each in variants.items() if 'latency_us' in each}
  return [
    bar_charts.Span(name, each['median'], each['p95'], f'{each["median"]:,.0f} to {each["p95"]:,.0f} µs')
    for name, each in timed.items()
  ]
