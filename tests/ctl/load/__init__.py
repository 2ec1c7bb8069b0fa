"""The load generator: its draws, its records, its generators and what they report."""
