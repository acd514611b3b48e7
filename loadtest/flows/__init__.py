"""How one job is driven: each flow yields what to send and how long to wait, and fills the job's sample."""
