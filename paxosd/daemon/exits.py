"""Exit codes of ``paxosd``, after sysexits.h, and what each means to a person."""

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 69
STORAGE = 74
PERMISSION = 77
CONFIG = 78

EXITS: dict[int, str] = {
    OK: "it stopped cleanly",
    FAILED: "an unexpected error, with a traceback",
    USAGE: "wrong usage of the command line",
    UNAVAILABLE: "it cannot listen on an endpoint, or its data directory is in use",
    STORAGE: "a storage error; its log says what to do",
    PERMISSION: "it may not read or write something it needs",
    CONFIG: "its configuration or a limit on it is wrong, or the cluster needs a newer version",
}

LASTING = frozenset({USAGE, STORAGE, PERMISSION, CONFIG})
"""Codes after which starting again, with nothing changed, can only fail again."""

_BY_NAME = {
    "ConfigError": CONFIG,
    "NoSocketDirectoryError": CONFIG,
    "IdentityError": CONFIG,
    "DataDirLocked": UNAVAILABLE,
    "BindError": UNAVAILABLE,
    "DoorError": UNAVAILABLE,
    "KeyFileError": CONFIG,
    "HttpError": UNAVAILABLE,
    "PortsTakenError": UNAVAILABLE,
    "NewerVersionError": CONFIG,
    "StorageError": STORAGE,
    "OutputError": STORAGE,
    "UnknownLevelError": CONFIG,
    "DescriptorsError": CONFIG,
    "PermissionError": PERMISSION,
}


def code_of(error: BaseException) -> int:
    """The exit code for an error that ends the daemon; FAILED for one that was not foreseen.

    Goes by the names of the error's class and its bases, the nearest first, so that no
    module is imported just to ask.
    """
    for base in type(error).__mro__:
        if base.__name__ in _BY_NAME:
            return _BY_NAME[base.__name__]
    return FAILED
