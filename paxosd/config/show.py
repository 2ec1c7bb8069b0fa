"""The effective configuration as TOML, each value with where it came from."""

from dataclasses import asdict

from paxosd.config.schema import SECTIONS, Config
from paxosd.config.settings import section_fields
from paxosd.host import toml

_NOTE_COLUMN = 44


def show(config: Config) -> str:
    """TOML text that, loaded again, gives the same configuration."""
    tables = []
    for name, section in SECTIONS.items():
        keys = section_fields(section)
        tables.append(
            toml.table(
                name,
                values={key: getattr(getattr(config, name), key) for key in keys},
                notes={key: config.sources.get(f"{name}.{key}", "default") for key in keys},
                note_column=_NOTE_COLUMN,
            )
        )
    for name, member in config.cluster.members.items():
        tables.append(toml.table("cluster", "members", name, values=asdict(member)))
    return "\n".join(tables)
