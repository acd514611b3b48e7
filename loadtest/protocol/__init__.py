"""What the endpoint promises: operations, job states, and the messages of both of its sides."""
