"""The deterministic simulator: the daemon's own code in a world made from one seed."""
