"""The processes of one run: the master, its generators, and the messages between them."""
