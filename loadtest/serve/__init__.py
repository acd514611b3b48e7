"""The endpoint model over HTTP, in real time."""
