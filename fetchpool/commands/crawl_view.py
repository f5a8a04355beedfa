"""How a crawl is watched: one live line on a terminal, a line now and then elsewhere.

Everything goes to the stream that it is given, standard error as a rule, so that standard output
stays free for pages and items. rich is imported where there is a terminal, and nowhere else.
"""

from datetime import tzinfo
from typing import Final, TextIO

from fetcher.crawl.state import State
from fetcher.crawl.summary import Summary
from fetchpool.commands.crawl_lines import build_line, build_summary
from fetchpool.commands.printing import print_blocks, write_lines
from fetchpool.terminal.live import LiveLine, is_terminal

EVERY: Final = 10.0  # seconds between lines where there is no terminal


class View:
    """Shows a crawl while it runs, and its summary at the end; `quiet` shows nothing.

    `now` is always by the clock of the state's own times. `zone` is that of the times shown.
    """

    def __init__(self, stream: TextIO, zone: tzinfo, *, quiet: bool = False) -> None:
        self._stream = stream
        self._zone = zone
        self._quiet = quiet
        self._live = LiveLine(stream) if not quiet and is_terminal(stream) else None
        self._last = float("-inf")
        self._phase = ""

    def update(self, state: State, now: float) -> None:
        """Show how it stands; to be called each second or so, and when its phase changes."""
        if self._quiet:
            return
        line = build_line(state, now, self._zone)
        if self._live is not None:
            self._live.show(line)
        elif now - self._last >= EVERY or state.phase != self._phase:
            self._last, self._phase = now, state.phase
            write_lines(self._stream, [line])

    def say(self, line: str) -> None:
        """Show a line that stays, above the live one."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.say(line)
        else:
            write_lines(self._stream, [line])

    def close(self) -> None:
        """Take the live line away; may be called again."""
        if self._live is not None:
            self._live.close()

    def end(self, state: State, summary: Summary, now: float) -> None:
        """Show what has become of it."""
        self.close()
        if not self._quiet:
            print_blocks(build_summary(state, summary, now, self._zone), self._stream)
