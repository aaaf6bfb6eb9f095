"""Texts as messages of a user in a tokenizer's own chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repro.errors import ReproError

# Llama 3's template writes today's date into every prompt unless it is told one: a prompt must not change overnight.
DATE = "26 Jul 2024"
WORD = "Zephyr"  # stands for an answer while the template is asked what follows one


@dataclass(frozen=True)
class Chat:
    """A tokenizer's chat template, and what a conversation opens with."""

    tokenizer: Any  # a transformers PreTrainedTokenizerFast with a chat template
    system: str  # empty: what the template itself says, if anything
    thinking: bool  # whether the model is to think aloud first (Qwen3's switch)
    end: str  # the token that ends a response

    def prompt(self, text: str) -> list[int]:
        """The tokens of a conversation in which the user says `text` and the assistant is about to answer."""
        return self._ids(self._render({"role": "user", "content": text}))

    def reply(self, text: str) -> list[int]:
        """The tokens by which a conversation goes on: the user says `text`, the assistant is about to answer again.

        They follow the end token of the answer before. Raises ReproError if the template closes answers by another.
        """
        said = ({"role": "user", "content": WORD}, {"role": "assistant", "content": WORD})
        whole = self._render(*said, {"role": "user", "content": text})
        _, _, rest = whole.partition(WORD)[2].partition(WORD)
        if not rest.startswith(self.end):
            raise ReproError(
                f"policy.end: a response ends with {self.end!r}, but the chat template closes an answer with "
                f"{rest[:20]!r}...: name that token in policy.end, or set policy.template=plain"
            )
        return self._ids(rest[len(self.end) :])

    def _render(self, *messages: dict[str, str]) -> str:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        return self.tokenizer.apply_chat_template(
            [*opening, *messages],
            add_generation_prompt=True,
            tokenize=False,
            enable_thinking=self.thinking,
            date_string=DATE,
        )

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)  # the template has written the special ones
