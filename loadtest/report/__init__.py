"""What a person reads: HTML and terminal."""
