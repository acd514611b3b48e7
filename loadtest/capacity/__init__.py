"""Capacity: queueing formulas, simulation with the endpoint's own model, cost, search."""
