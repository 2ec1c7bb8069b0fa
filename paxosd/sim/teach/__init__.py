"""Guided scenarios: real nodes under full control, shown step by step, and checked.

On a stage (``stage.py``) each message can be held, lost or passed; ``lessons/`` are the scenarios;
``narrator*.py`` turn what happened into sentences with the rule behind each. Two-Phase Commit is
here too, correct and blocking, to compare Paxos with.
"""
