"""The configuration of one daemon: what can be set, within which limits, and from where.

``settings.py`` reads typed settings, ``schema.py`` lists them, ``check.py`` holds what must be true
between them, ``sources.py`` collects them from file, environment and flags, ``show.py`` prints them
with where they came from. Errors name the setting, the value and what to write instead. No daemon
is needed to read a configuration.
"""
