"""Systems to judge loadtest by that share no code with it."""
