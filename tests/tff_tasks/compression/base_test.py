"""Tests the example that says how to write a compression."""

import dataclasses
import sys
import textwrap
import types

from absl.testing import absltest
import numpy as np
import tensorflow as tf

from tff_tasks.compression import base
from tff_tasks.compression import bounded
from tff_tasks.privacy import plan as plan_lib

_PLAN = plan_lib.PrivacyPlan(100, 10, clip_norm=0.3, noise_multiplier=2.0, delta=1e-3)


class BaseTest(absltest.TestCase):
  def test_the_example_of_the_docstring_runs(self) -> None:
    module = types.ModuleType('compression_of_the_docstring')
    self.enterContext(absltest.mock.patch.dict(sys.modules, {module.__name__: module}))
    code = '\n'.join(line for line in (base.__doc__ or '').splitlines() if line.startswith('    ') or not line)
    exec(textwrap.dedent(code), vars(module))
    plan = dataclasses.replace(
      _PLAN, compression='compression_of_the_docstring:Coarse', compression_options=('steps=5',)
    )
    encoding, seed = plan.codec(2), tf.constant([1, 2])
    assert isinstance(encoding, bounded.Bounded)
    levels = encoding.encode(tf.constant([0.19, -0.13]), seed, seed)
    self.assertEqual(levels.numpy().tolist(), [3, -2])
    np.testing.assert_allclose(encoding.decode(levels, seed), [0.18, -0.12], atol=1e-6)
    # Sensitivity and noise are those of the encoding.
    self.assertAlmostEqual(plan.norm_bound(2), 0.3)
    self.assertAlmostEqual(plan.noise_levels(2), 10.0)
    self.assertEqual(plan.update_bytes(2), 2)
    self.assertIn('compressed by ', plan.upload_in_words)


if __name__ == '__main__':
  absltest.main()
