"""The version of this package, read by the build and by `xds-server version`."""

__version__ = "0.1.0.dev0"
