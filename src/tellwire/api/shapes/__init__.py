"""What requests may hold and answers show: a module for each resource, as the routes beside have one.

``given`` is what all that is asked shares, ``shown`` what all answers share. ``saying`` and ``setting_fields`` give the
OpenAPI document what types cannot say, and the settings of endpoints.
"""
