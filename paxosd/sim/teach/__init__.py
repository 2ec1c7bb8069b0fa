"""Guided scenarios: real nodes under full control, told step by step, and checked.

``stage.py`` lets each message be held, lost or passed; ``lessons/`` are the scenarios;
``narrator*.py`` turn what happened into sentences with the rule behind each. Two-Phase Commit is
here too, correct and blocking, to compare Paxos with.
"""
