"""A recorded run as pandas data frames: what `import loadtest` offers to notebooks and scripts."""
