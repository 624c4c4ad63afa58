from __future__ import annotations

import pytest

from rlmrec_fast.semantic.answers import parse_answer

GOOD = '{"profile": " for readers ", "reasoning": "because"}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Sure! {{as asked}} Here it is: {GOOD} I hope {{that}} helps.",
        '{"summarization": "for readers", "reasoning": "because", "more": [1]}',
        '{"nothing": 1} ' + GOOD,
    ],
)
def test_the_profile_is_found_whatever_stands_around_it(text: str) -> None:
    answer = parse_answer(text)
    assert (answer.profile, answer.reasoning) == ("for readers", "because")


def test_a_reasoning_is_not_needed_and_text_is_made_writable() -> None:
    answer = parse_answer('{"profile": "a \\ud800 \\u00e9"}')
    assert answer.profile == "a ? é"
    assert answer.reasoning == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("no", "no JSON object"),
        ('["profile"]', "no JSON object"),
        ('{"profile": "cut', "no JSON object"),
        ("{" * 200_000, "no JSON object"),
        ('{"a":' * 50_000, "no JSON object"),
        ("{}", "profile: Field required"),
        ('{"profile": " "}', "at least 1 character"),
        ('{"profile": ["x"]}', "valid string"),
        ('{"profile": "' + "x" * 9000 + '"}', "at most 8000"),
        ('{"profile": "x", "reasoning": 5}', "reasoning"),
    ],
)
def test_anything_else_is_refused_by_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_answer(text)
