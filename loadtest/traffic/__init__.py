"""When to send: arrivals, stages, rate limits, polling, inputs."""
