"""paxosd: a replicated, durable key-value daemon on Paxos, on a ZeroMQ message bus."""

__version__ = "0.1.0"
