"""Tests of the example that says how to write an aggregation."""

import sys
import textwrap
import types
from typing import Any

from absl.testing import absltest
import numpy as np

from tests.tff_tasks import drawn_updates
from tff_tasks.aggregation import registry
from tff_tasks.aggregation import row_aggregation


class RowAggregationTest(drawn_updates.RoundsTestCase):
  def test_the_example_of_the_docstring_runs_on_both_runtimes(self) -> None:
    module = types.ModuleType('aggregation_of_the_docstring')
    self.enterContext(absltest.mock.patch.dict(sys.modules, {module.__name__: module}))
    text = row_aggregation.__doc__ or ''
    code = '\n'.join(line for line in text.splitlines() if line.startswith('    ') or not line)
    exec(textwrap.dedent(code), vars(module))
    aggregation: Any = registry.build('aggregation_of_the_docstring:Midpoint')
    updates = self.updates((1, 4, 6))
    for runtime in ('local', 'tff'):
      (found,) = self.run_rounds(aggregation.build(), [(1, 4, 6)], runtime)
      np.testing.assert_allclose(found.update, (updates.min(axis=0) + updates.max(axis=0)) / 2, atol=1e-6)


if __name__ == '__main__':
  absltest.main()
