"""Bridges to other libraries; each module needs its library, and nothing else does.

Import the one that you need: none is imported with :mod:`diffevo_jax`.

* :mod:`diffevo_jax.interop.evosax`: its algorithms and problems here, our strategies there;
  to compare, or to try them in a pipeline that exists.
* :mod:`diffevo_jax.interop.optuna`: searches the settings of a
  :class:`diffevo_jax.sweeps.Tuning`; where studies, samplers or dashboards are Optuna's;
  its distributions are a space of ours.
* :mod:`diffevo_jax.interop.gymnasium`: its spaces are spaces of ours.
* :mod:`diffevo_jax.interop.diffrax`: integrates the probability flow with steps of its own
  length; where a fixed grid is too coarse, or its number of levels unknown.
"""
