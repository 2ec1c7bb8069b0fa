"""Safeguards of who may act: founding, epochs, log marks, two processes under one name.

See docs/ACTING.md. Some of these hold the same line twice; then both are taken away, and the text
says so."""

from paxosd.core.admission import Admission
from paxosd.core.founding import Founding
from paxosd.core.genesis import Founder, Record
from paxosd.storage.peer_lives import PeerLives
from paxosd.storage.wal import Wal
from tests.bench.mutation import Patches, mutation

RELICS = ("relics", "relics-grown")


# -- founding


@mutation("founds-by-file", "no file alone founds a cluster: its only node needs an explicit act",
          "Founding.tick", profiles=("relics-grown",))  # fmt: skip
def _founds_by_file(p: Patches) -> None:
    def make(original):
        def tick(self):
            original(self)
            if self.alone and self.record is None:
                options = self._context.options
                members = {options.node: Founder(True, self._directory)}
                self.record = Record(options.cluster, members, self._settings)

        return tick

    p.replace(Founding, "tick", make)


@mutation("founds-though-files-differ", "a cluster is founded only if all proposals agree",
          "Founding._difference", profiles=("first-files",))  # fmt: skip
def _founds_though_files_differ(p: Patches) -> None:
    def make(_):
        def difference(self, name, own, *, said=False):
            return "" if said or name in self._heard else "not heard yet"

        return difference

    p.replace(Founding, "_difference", make)


@mutation("newcomers-act", "who is not founded does not act", "Arrival._judge",
          profiles=("first-files", *RELICS))  # fmt: skip
def _newcomers_act(p: Patches) -> None:
    def make(original):
        def judge(self):
            active, self.founding.active = self.founding.active, False
            try:
                return original(self)
            finally:
                self.founding.active = active

        return judge

    p.replace(Admission, "_judge", make)


# -- the past


@mutation("foreign-directory-acts", "only the directory that the membership names acts",
          "Arrival._is_foreign, _knows_more", profiles=("relics",))  # fmt: skip
def _foreign_directory_acts(p: Patches) -> None:
    """Peers that know another life of it say so, too."""
    p.replace(Admission, "_is_foreign", lambda _: property(lambda self: False))
    p.replace(Admission, "_knows_more", lambda _: lambda self, *_: False)


# -- log marks


@mutation("marks-not-compared", "a log that ends below what was heard of it has lost its memory",
          "PeerLives, Arrival._knows_more", profiles=("rolled-back-greeted",))  # fmt: skip
def _marks_not_compared(p: Patches) -> None:
    p.replace(PeerLives, "_mark_of", lambda _: lambda self, name: 0)


@mutation("marks-not-written", "what was heard of peers' logs outlasts a crash", "Wal.note_heard",
          profiles=("rolled-back-together",))  # fmt: skip
def _marks_not_written(p: Patches) -> None:
    p.replace(Wal, "note_heard", lambda _: lambda self, marks: False)


@mutation("acts-uncompared", "nobody acts after a start before the others have compared it",
          "Arrival._is_compared", profiles=("rolled-back-alone",))  # fmt: skip
def _acts_uncompared(p: Patches) -> None:
    p.replace(Admission, "_is_compared", lambda _: lambda self: True)


# -- two under one name


def _takes_any_challenge(p: Patches) -> None:
    def make(original):
        def hear_hello(self, sender, run_id, hello, now_ms, old):
            hello = hello._replace(challenge=self._challenge_of(sender))
            return original(self, sender, run_id, hello, now_ms, old)

        return hear_hello

    p.replace(PeerLives, "_hear_hello", make)


@mutation("challenge-ignored", "a new life repeats what was sent to the member's address",
          "PeerLives._hear_hello", profiles=("doubled-stopped",))  # fmt: skip
def _challenge_ignored(p: Patches) -> None:
    _takes_any_challenge(p)


@mutation("silence-ignored", "a new life waits until the one that is heard falls silent",
          "PeerLives.is_alive", profiles=("doubled",))  # fmt: skip
def _silence_ignored(p: Patches) -> None:
    """The challenge holds this line alone while the second process hears nothing: both."""
    _takes_any_challenge(p)
    p.replace(PeerLives, "is_alive", lambda _: lambda self, name, now_ms: False)
