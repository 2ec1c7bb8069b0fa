"""What is wrong with this machine and this cluster, and what to do about it.

    gathering ──► Evidence ──► checks (pure) ──► findings ──► report

``gathering`` alone asks nodes and looks at files; ``facts`` has how one machine is looked at;
``checks`` has a module for each check, which decides by the evidence and nothing else. The verb is
``paxosctl doctor``; ``docs/DOCTOR.md`` is made from the catalogue of checks.
"""
