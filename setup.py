"""The part of the build that pyproject.toml cannot express: scenarios and examples travel inside the package.

They stay at the top of the repository, where people look for them. An editable install finds them there.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("scenarios", "examples")


class BuildWithScenarios(build_py):
    """Copies the folders into the package as data."""

    def _shipped(self):
        paths = (path for folder in FOLDERS for path in sorted(Path(folder).rglob("*")))
        for path in paths:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path, Path(self.build_lib, "loadtest", path)

    def run(self):
        """Build the package, then copy."""
        super().run()
        if not self.editable_mode:
            for source, copy in self._shipped():
                self.mkpath(str(copy.parent))
                self.copy_file(str(source), str(copy), preserve_mode=False)

    def get_outputs(self, include_bytecode=1):
        """Return the paths of what was built."""
        return [*super().get_outputs(include_bytecode), *(str(copy) for _, copy in self._shipped())]

    def get_source_files(self):
        """Return the files that a source distribution needs."""
        return [*super().get_source_files(), *(str(source) for source, _ in self._shipped())]


setup(cmdclass={"build_py": BuildWithScenarios})
