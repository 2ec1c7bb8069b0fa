"""The auditor: were the rules of Paxos kept, as far as recordings and logs show?

Here live parsers of its own for recorder files and for the write-ahead log, written from the
pages that describe the formats, and one class for each rule. It uses nothing of ``paxosd``, so that
a mistake there is not repeated here. Called by ``paxosctl.commands.audit``, and by tests.
"""
