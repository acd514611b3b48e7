"""`python -m loadtest` is the command `loadtest`."""

from loadtest.cli import command

if __name__ == "__main__":
    command()
