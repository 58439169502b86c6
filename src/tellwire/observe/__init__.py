"""Listeners of telemetry: what the stages tell about themselves becomes logs and metrics.

Nothing here decides anything; without it Tellwire delivers the same, in silence.
"""
