"""All that this machine says about the node of a configuration."""

import stat
from collections.abc import Callable
from pathlib import Path

from paxosctl.doctor.facts import (
    clock,
    directories,
    file_systems,
    key_files,
    ports,
    processes,
)
from paxosctl.doctor.facts.sync_trial import sync_times_us
from paxosctl.doctor.machine import UNKNOWN, Machine
from paxosd.config.schema import Config


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
        keys=key_files.look_at(config, directory.owner),
    )


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return UNKNOWN
