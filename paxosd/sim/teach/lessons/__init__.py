"""The guided scenarios of ``paxosctl sim teach``: one module each."""
