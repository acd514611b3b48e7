"""Live metrics: counts of each generator, their sum at the master, and how it is scraped and pushed."""
