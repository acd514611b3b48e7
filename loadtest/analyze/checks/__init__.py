"""The checks that decide whether a measurement is valid."""
