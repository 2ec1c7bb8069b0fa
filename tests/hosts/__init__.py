"""Machines made of namespaces: with a network, a /etc and, where it is wanted, a systemd of their
own."""
