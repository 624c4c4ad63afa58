from __future__ import annotations

from pathlib import Path

import pytest

from rlmrec_fast.semantic.templates import DOMAINS, Prompt, read_prompts, write_templates


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_templates_of_every_domain_are_read_and_filled(domain: str) -> None:
    prompts = read_prompts(domain)
    system, user = prompts["item"].messages({"facts": "$FACTS$"})
    assert system["role"] == "system"
    assert '{"profile": ' in system["content"]
    assert user["content"].endswith("$FACTS$")
    values = {"facts": "{}", "items": "[1]", "count": "7"}
    assert "7 " in prompts["user"].messages(values)[1]["content"]


def test_written_templates_are_those_of_the_domain_until_they_are_edited(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "prompts"
    item, user = write_templates("games", folder)
    assert read_prompts(folder) == read_prompts("games")
    item.write_text("Be kind.\n---\nGiven $$5 and ${facts}\n")
    prompt = read_prompts(folder)["item"]
    assert prompt.messages({"facts": "x"})[1]["content"] == "Given $5 and x"
    with pytest.raises(FileExistsError, match="must not exist"):
        write_templates("games", folder)
    user.unlink()
    with pytest.raises(FileNotFoundError):
        read_prompts(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no divider $facts", "must have a line ---"),
        ("a\n---\n$facts and $items", r"must name only \$facts, .* \(got \$items\)"),
        ("a\n---\n$facts for $ 5", r"\(got \$\)"),
        ("a\n---\nnothing", r"must name \$facts"),
    ],
)
def test_a_wrong_template_is_refused_by_its_file(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Prompt.parse(text, "item", "prompts/item.txt")
    assert str(caught.value).startswith("prompts/item.txt: ")


def test_an_unknown_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="--domain must be one of books, games"):
        read_prompts("../books")
