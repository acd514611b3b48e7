"""Runs against an endpoint, a network and machines that misbehave, drawn from a seed: `python -m tests.hostile`."""
