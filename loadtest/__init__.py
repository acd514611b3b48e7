"""Load tests for inference endpoints with a job queue."""
