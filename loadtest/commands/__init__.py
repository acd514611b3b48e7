"""The commands: each a few lines over the packages below."""
