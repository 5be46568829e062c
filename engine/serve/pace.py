"""How fast the step loop is, measured as it goes, and so how long a newcomer would wait."""

import math

_HALF_LIFE_S = 20  # of busy time: long enough to smooth steps, short enough to follow a load
_FIRST_GUESS = 128  # tokens of an answer, until some have ended
_MOST_RETRY_S = 600


class Pace:
    """Decaying averages. Not thread-safe."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self.tokens_of_answer: float = _FIRST_GUESS
        """What an answer has on average."""

    def record_step(self, num_tokens: int, seconds: float) -> None:
        """Take in a step."""
        kept = 0.5 ** (seconds / _HALF_LIFE_S)
        self._tokens = self._tokens * kept + num_tokens
        self._seconds = self._seconds * kept + seconds

    def record_answer(self, num_tokens: int) -> None:
        """Take in an answer that came to its end."""
        self.tokens_of_answer += (num_tokens - self.tokens_of_answer) / 16

    def predict_wait_s(self, num_tokens: float) -> float:
        """Predict how long so many tokens take; 0 while nothing was measured."""
        return num_tokens * self._seconds / self._tokens if self._tokens else 0.0

    def predict_retry_s(self, num_tokens: float) -> int:
        """As `predict_wait_s`, in whole seconds to be told to a client."""
        return min(max(1, math.ceil(self.predict_wait_s(num_tokens))), _MOST_RETRY_S)
