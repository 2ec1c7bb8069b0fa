"""The verbs of paxosctl, a module per family; each verb is ``NAME_verb``."""
