"""What happened: samples, shards, the run directory."""
