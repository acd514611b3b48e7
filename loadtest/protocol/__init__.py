"""The protocol of an endpoint: operations, job states, and the messages of clients and of workers."""
