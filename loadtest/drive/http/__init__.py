"""The HTTP client: connections, dialing, requests and responses."""
