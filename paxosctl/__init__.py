"""paxosctl: the command line and the public Python client of paxosd."""
