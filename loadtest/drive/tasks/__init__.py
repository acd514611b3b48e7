"""The users of a locustfile of one's own, and the jobs that their tasks submit."""
