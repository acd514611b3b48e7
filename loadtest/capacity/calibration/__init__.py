"""A workload model, estimated from recorded runs."""
