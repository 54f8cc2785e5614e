"""How many requests may be in flight: as many as the server answers without refusing them or slowing down."""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import Final

#: Answers, for each request in flight, after which one more may be in flight.
_ROUND: Final = 8
#: Answers, for each request in flight, most of which must be slow if the server is. A pause of the server delays
#: everything that is in flight, but only once.
_JUDGED: Final = 2
_FEWEST_JUDGED: Final = 4
#: How many times its usual time an answer takes from a server that has slowed down.
_SLOWER: Final = 2.0
#: A difference in seconds that says nothing about the server: a busy worker may take as long to read an answer.
_UNNOTICED: Final = 0.2


class ConcurrencyLimit:
    """Limits the requests in flight by additive increase and multiplicative decrease (AIMD).

    The limit begins at its maximum. It is halved when the server refuses a request (429) or takes twice the usual time
    to answer, and grows by one after every few answers. The usual time is the lowest median so far; with one request in
    flight, it is what the server takes then, since less cannot be asked of it.

    This class sends nothing, reads no clock, and is not thread-safe.

    :param most: the highest limit, at least 1.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        #: How often the limit was halved. What happens to requests that were sent before says nothing about it.
        self.decreases = 0
        self._most = most
        self._usual: float | None = None
        self._largest = 0
        self._start_round()

    def refused(self, sent: int) -> None:
        """Note that the server refused a request.

        :param sent: :attr:`decreases` when the request was sent for the first time.
        """
        if sent == self.decreases:
            self._halve()

    def answered(self, sent: int, seconds: float, size: int) -> None:
        """Note an answer.

        :param sent: :attr:`decreases` when the request was sent for the first time.
        :param seconds: from sending the request to the answer's last byte.
        :param size: bytes of the answer. Times of small answers are not compared: a count is quicker than a page.
        """
        if sent != self.decreases:
            return
        self._answers += 1
        self._note_time(seconds, size)
        if self._is_slow():
            self._halve()
        elif self._answers >= _ROUND * self.limit:
            self._update_usual()
            self.limit = min(self.limit + 1, self._most)
            self._start_round()

    def _note_time(self, seconds: float, size: int) -> None:
        if size > 2 * self._largest:
            # All answers so far were small.
            self._usual = None
            self._times.clear()
        self._largest = max(size, self._largest)
        if 2 * size >= self._largest:
            self._times.append(seconds)
            # A window's first page is in flight alone, so that the server takes no longer than it must.
            self._usual = seconds if self._usual is None else self._usual

    def _is_slow(self) -> bool:
        if self._usual is None or self.limit == 1 or len(self._times) < (self._times.maxlen or 0):
            return False
        return median_low(self._times) >= max(_SLOWER * self._usual, self._usual + _UNNOTICED)

    def _update_usual(self) -> None:
        if self._times:
            now = median_low(self._times)
            self._usual = now if self._usual is None or self.limit == 1 else min(now, self._usual)

    def _halve(self) -> None:
        self.limit = (self.limit + 1) // 2
        self.decreases += 1
        self._start_round()

    def _start_round(self) -> None:
        self._answers = 0
        self._times: deque[float] = deque(maxlen=max(_JUDGED * self.limit, _FEWEST_JUDGED))
