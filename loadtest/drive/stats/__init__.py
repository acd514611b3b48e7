"""Live figures of a run: counters, Locust statistics, CPU use."""
