"""A language model as judge: whether an answer is right, by the rule that the benchmark has for its kind of question.

The rules are those of LongMemEval (arXiv 2410.10813), LongMemEval-V2 (arXiv 2605.12493) and ConvoMem (arXiv
2511.10523) in our own words, so verdicts are comparable with theirs and not equal to them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from mnemic.llm import LLM
from mnemic.teaching.rwr.evaluation.items import EvaluationItem

__all__ = ["JUDGE_TAG", "JUDGE_VERSION", "LLMJudge"]

JUDGE_TAG: Final = "rwr-judge"
JUDGE_VERSION: Final = 1

_SCHEMA: Final = {
    "type": "object",
    "properties": {"correct": {"type": "boolean"}},
    "required": ["correct"],
    "additionalProperties": False,
}

_FACT: Final = (
    "It is correct when it states the expected answer, in whatever words, or gives all the steps that lead to it. It "
    "is wrong when it gives only a part of what is expected. More true detail does no harm."
)
_RULES: Final = MappingProxyType(
    {
        "fact": _FACT,
        "temporal": f"{_FACT} A count of days, weeks or months that is off by one is correct too.",
        "update": f"{_FACT} It may name earlier values as well, as long as it gives the newest as the one that holds.",
        "rubric": (
            "What is expected is a description of a good answer and not an answer. It is correct when it makes right "
            "use of what is known about the user; it need not touch every point of the description."
        ),
        "abstention": (
            "The question cannot be answered from the history. It is correct when it says so in any way, also when "
            "it tells what is known instead, and wrong when it gives a definite answer."
        ),
        "premise": (
            "The question rests on a false premise. It is correct when it says what is wrong with the premise, as the "
            "expected answer does, or that the environment in question cannot be inspected. It is wrong when it goes "
            "along with the premise, contradicts itself, or merely says that it does not know."
        ),
        "insight": (
            "What is expected is a list of insights. It is correct when it has at least one of them and contradicts "
            "none; it is wrong when it points in the wrong direction."
        ),
    }
)


class LLMJudge:
    """Asks for a verdict, once per answer, at temperature 0."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.name = f"{llm.model}/{JUDGE_VERSION}"

    def __call__(self, item: EvaluationItem, said: str) -> bool:
        """Whether `said` answers the item.

        Raises:
            LLMError: there was no verdict.
        """
        expected = "\n".join(item.answers)
        messages = [
            {
                "role": "system",
                "content": "You mark answers to questions about a long history that you do not see. "
                f'{_RULES[item.judging]} Reply with JSON: {{"correct": true}} or {{"correct": false}}.',
            },
            {
                "role": "user",
                "content": f"<question>\n{item.question}\n</question>\n<expected>\n{expected}\n</expected>\n"
                f"<answer>\n{said}\n</answer>\nIs the answer correct?",
            },
        ]
        verdict = self.llm.complete(messages, response_schema=_SCHEMA, tag=JUDGE_TAG).parsed
        assert isinstance(verdict, dict)
        return bool(verdict["correct"])
