"""Files for CI systems: JUnit XML and Markdown."""
