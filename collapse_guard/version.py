"""The version of the library, recorded in every snapshot."""

__version__ = "0.1.0"
