"""The version, in the one place that Python, CMake and the packaging read."""

__version__ = "0.1.0"
