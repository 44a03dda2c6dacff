"""Which events something is for: a glob over the source or its provider, and one over the type."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass

_WILD = re.compile(r"\[!?\]?[^]]*\]|[*?\[]")
_OPAQUE = "\x00"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Two globs (``*``, ``?``, ``[]``; case counts). ``source`` may match the source's name or its provider's."""

    source: re.Pattern[str]
    event_type: re.Pattern[str]

    @classmethod
    def of(cls, source: str, event_type: str) -> Pattern:
        return cls(re.compile(fnmatch.translate(source)), re.compile(fnmatch.translate(event_type)))

    def matches(self, source: str, provider: str, event_type: str) -> bool:
        """Tell whether an event of this source, provider and type is meant."""
        return self.event_type.match(event_type) is not None and (
            self.source.match(source) is not None or self.source.match(provider) is not None
        )


def covers(wide: str, narrow: str) -> bool:
    """Tell whether every text that the glob ``narrow`` matches is matched by ``wide``. False also where it is hard to say."""
    if wide == narrow:
        return True
    if "?" in wide or "[" in wide:
        return _WILD.search(narrow) is None and fnmatch.fnmatchcase(narrow, wide)
    # A wildcard of the narrow one stands for anything: only a `*` of the wide one takes anything.
    return fnmatch.fnmatchcase(_WILD.sub(_OPAQUE, narrow), wide)
