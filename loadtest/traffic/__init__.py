"""When to send: arrivals, stages, rate budgets, polling."""
