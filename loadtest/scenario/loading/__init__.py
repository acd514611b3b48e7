"""Scenario files: YAML to validated models, with errors that name file, line and fix."""
