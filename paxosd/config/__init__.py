"""The configuration of one daemon: what can be set, within which limits, and from where.

``settings.py`` reads typed settings from layered sources, ``schema.py`` lists them, ``check.py``
holds what must be true between them, ``show.py`` prints them with their sources. Errors name the
setting, the value and what to write instead. No daemon is needed to read a configuration.
"""
