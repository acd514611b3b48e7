"""What it means: samples to one Summary that all readers share."""
