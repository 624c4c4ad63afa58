"""What a language model answers, brought into form."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

MOST_CHARACTERS = 100_000
_MOST_BRACES = 100


class ProfileAnswer(BaseModel):
    """A profile, and why it is so; RLMRec's name `summarization` is understood, too."""

    model_config = ConfigDict(extra="ignore", strict=True, str_strip_whitespace=True)

    profile: str = Field(
        min_length=1,
        max_length=8000,
        validation_alias=AliasChoices("profile", "summarization"),
    )
    reasoning: str = Field("", max_length=20_000)

    @field_validator("profile", "reasoning", mode="before")
    @classmethod
    def _writable(cls, text: Any) -> Any:
        # A lone surrogate, which JSON may hold, cannot be written as UTF-8.
        return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def parse_answer(text: str) -> ProfileAnswer:
    """Finds the JSON object in an answer, whatever stands around it.

    Raises:
        ValueError: There is none, or it is not a profile.
    """
    decoder, text = json.JSONDecoder(), text[:MOST_CHARACTERS]
    reason = "no JSON object"
    for number, brace in enumerate(re.finditer(r"\{", text)):
        if number == _MOST_BRACES:
            break
        try:
            found, _ = decoder.raw_decode(text, brace.start())
            return ProfileAnswer.model_validate(found)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (ValueError, RecursionError):
            continue
    raise ValueError(reason)
