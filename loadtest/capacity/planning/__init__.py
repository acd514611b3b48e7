"""The search for the cheapest workers that meet an objective."""
