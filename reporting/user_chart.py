"""The chart of single users before and after fine-tuning."""

from collections.abc import Sequence
from typing import NamedTuple

import markupsafe

from contracts import personalization
from reporting import charts

# More would make the page large, and look the same.
_MOST_POINTS = 1_000


class UserChart(NamedTuple):
  """A drawing with how to read it; the drawing is empty if nobody was measured."""

  text: str
  svg: markupsafe.Markup


def draw(users: Sequence[personalization.User], what: str = 'fine-tuning') -> UserChart:
  """Returns the chart of users, of a sample where they are many.

  Args:
    users: All of them.
    what: What was done between before and after.
  """
  measured = [user for user in users if user.outcome == personalization.MEASURED]
  # In the order of hashed ids, so that some at equal distances are random ones.
  shown = measured[:: max(1, -(-len(measured) // _MOST_POINTS))]
  sample = f' A random {len(shown):,} of {len(measured):,} users are shown.' if len(shown) < len(measured) else ''
  pairs = [(user.accuracy_before, user.accuracy_after) for user in shown]
  # Safe to mark: drawn from numbers and from the words here.
  svg = markupsafe.Markup(charts.draw_pairs('users', pairs, ('accuracy before', 'accuracy after')))
  return UserChart(f'Above the line, {what} helped.{sample}', svg)
