"""All that this machine says about the node of a configuration."""

import stat
from collections.abc import Callable
from pathlib import Path

from paxosctl.doctor.facts import clock, directories, file_systems, ports, processes
from paxosctl.doctor.facts.sync_trial import sync_times_us
from paxosctl.doctor.machine import UNKNOWN, Machine
from paxosd.config.schema import Config
from paxosd.net.key_files import KeyFileError, read_key_file, read_trust_file


def look(config: Config, config_path: Path, stage: Callable[[str], object]) -> Machine:
    """``stage``: is called with what is looked at next. The ports are tried, and the disk is
    measured, only while the node does not run: a running node says itself how its disk is."""
    stage("this machine")
    directory = directories.look_at(config.node.data_dir)
    runs = directory.locked_by is not None
    tried = () if runs else ports.try_ports(config)
    syncs: tuple[int, ...] = ()
    if not runs and not directory.hidden:
        stage("how fast its disk is")
        syncs = sync_times_us(file_systems.existing(config.node.data_dir))
    log_free = UNKNOWN
    if config.log.file:
        log_free = file_systems.look_at(Path(config.log.file).parent).free_bytes
    return Machine(
        directory=directory,
        file_system=file_systems.look_at(config.node.data_dir),
        ports=tried,
        process=processes.look_at(directory.locked_by or 0),
        syncs_us=syncs,
        clock_synced=clock.is_synchronised(),
        available_bytes=processes.available_bytes(),
        log_free_bytes=log_free,
        config_mode=_mode(config_path),
        key_problems=_key_problems(config),
    )


def _key_problems(config: Config) -> tuple[str, ...]:
    """A file that others may read counts, too: the node refuses it."""
    security, problems = config.security, []
    reads: tuple[tuple[str, Callable[[Path], object]], ...] = (
        (security.key_file, read_key_file),
        (security.trust_file, read_trust_file),
    )
    for name, read in reads:
        try:
            if name:
                read(Path(name))
        except (KeyFileError, OSError) as error:
            problems.append(str(error) if name in str(error) else f"{name}: {error}")
    return tuple(problems)


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return UNKNOWN
