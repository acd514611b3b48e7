"""The workload model, estimated from recorded runs."""
