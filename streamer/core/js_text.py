"""Shim."""

from streamer.core.template import printed as printed
