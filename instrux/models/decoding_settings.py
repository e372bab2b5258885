"""How a target is decoded: the one most probable token after another, drawn, or by beam search."""

from dataclasses import dataclass

from instrux.errors import InputError
from instrux.models.config import check_choice

LENGTH_PENALTY_FORMS = ("brevity", "length")


@dataclass(frozen=True, kw_only=True)
class DecodingSettings:
    """How a target is decoded; greedily by default.

    Hashable, so it may be a static argument of a jitted function.

    Attributes:
        num_beams: 1 for no beam search; otherwise how many unfinished targets are held a prompt.
        num_decodes: targets given back a prompt, the best first; with beam search at most
            `num_beams`, otherwise drawn one apart from another.
        temperature: divides the logits that tokens are drawn from; 0 takes the most probable.
        top_k: draw from the `top_k` most probable tokens only; 0 for all.
        top_p: draw from the fewest most probable tokens whose probabilities reach `top_p` only
            (Holtzman et al., arXiv 1904.09751); 1 for all.
        length_penalty: a finished beam's score is the sum of its log-probabilities divided by its
            length, end included, to this power; see the form. 0 for no division. T5X's default.
        length_penalty_form: `brevity` divides by `((5 + length) / 6) ** length_penalty` (Wu et
            al., arXiv 1609.08144, equation 14), as T5X does; `length` by `length **
            length_penalty`, as Hugging Face does.
        seed: of the draws.
    """

    num_beams: int = 1
    num_decodes: int = 1
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 0.6
    length_penalty_form: str = "brevity"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_beams", "num_decodes"):
            if getattr(self, name) < 1:
                raise _wrong(self, name, "give at least 1")
        if not self.temperature >= 0.0:
            raise _wrong(self, "temperature", "give 0 to decode greedily, or more")
        if self.top_k < 0:
            raise _wrong(self, "top_k", "give 0 for all tokens, or how many")
        if not 0.0 < self.top_p <= 1.0:
            raise _wrong(self, "top_p", "give a probability above 0, at most 1")
        if not self.length_penalty >= 0.0:
            raise _wrong(self, "length_penalty", "give 0 or more")
        check_choice(self, "length_penalty_form", self.length_penalty_form, LENGTH_PENALTY_FORMS)
        self._check_together()

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.temperature > 0.0

    def _check_together(self) -> None:
        if self.draws and self.num_beams > 1:
            raise _wrong(self, "num_beams", "beam search draws nothing: set temperature to 0")
        if not self.draws and (self.top_k or self.top_p < 1.0):
            name = "top_k" if self.top_k else "top_p"
            raise _wrong(self, name, "nothing is drawn: set temperature above 0, such as 1.0")
        if not self.draws and self.num_decodes > self.num_beams:
            raise _wrong(
                self, "num_decodes", "set num_beams to as many, or temperature above 0 to draw them"
            )


def _wrong(settings: DecodingSettings, name: str, mend: str) -> InputError:
    return InputError(f"DecodingSettings.{name} = {getattr(settings, name)}: {mend}")
