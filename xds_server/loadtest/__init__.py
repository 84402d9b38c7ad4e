"""Synthetic Envoys that load a control plane, and what they measure.

`http2`, `responses`, `variants`, `envoy`, `results` and `report` know no network and no clock; `connection` and `run`
drive them.
"""
