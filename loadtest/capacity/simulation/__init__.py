"""Simulated endpoints under a workload."""
