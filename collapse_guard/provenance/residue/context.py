"""Where in a page a phrase stands: quoted or not, at the start of what, near words about models.

Pages about models quote what models leave behind. Whether a phrase was left behind or is being talked about shows in
its surroundings, never in the phrase.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property

LOOK_BACK = 600
"""Characters before a phrase in which an opening quotation mark may stand."""

_TITLE = 120
_CUE_REACH = 60
_DISCUSSED, _DENSITY = 3, 1500

_ABOUT = re.compile(
    r"\b(?:chat[- ]?gpt|gpt-?\d\w*|gpts?|openai|anthropic|llms?|language models?|chat ?bots?|prompt(?:s|ed|ing)?"
    r"|jailbreak\w*"
    r"|prompt[- ]injections?|generative ai|genai|ai[- ](?:generated|written|writing|texts?|detect\w+|assistants?"
    r"|models?|slop"
    r"|chat\w*|tools?|systems?|companies|industry)|claude|gemini|copilot|llama(?:[- ]?\d\w*)?|mistral|qwen"
    r"|deepseek|grok"
    r"|hugging ?face|tokeni[sz]ers?|tokeni[sz]ation|fine-?tun\w*|chat templates?|machine learning"
    r"|artificial intelligence"
    r"|neural networks?|transformers|robots?|androids?|mod[eè]les? de langage|IA g[eé]n[eé]rative"
    r"|intelligence artificielle"
    r"|sprachmodell\w*|k[uü]nstliche\w* intelligenz|KI-\w+|modelos? de lenguaje|inteligencia artificial"
    r"|modell[oi] linguistic[oi]|intelligenza artificiale|modelos? de linguagem|intelig[eê]ncia artificial|taalmodel\w*"
    r"|kunstmatige intelligentie|языков\w+ модел\w+|нейросет\w+|чат-?бот\w*|искусственн\w+ интеллект\w*)\b"
    r"|聊天机器人|语言模型|大模型|提示词|人工智能|言語モデル|プロンプト|生成AI|人工知能|チャットボット",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_INDENTED = re.compile(r"(?: {4,}|\t)")
_QUOTING_LINE = re.compile(r"\s*(?:>|[\u2013\u2014]\s|\*\s?[\"“]|\w[\w .'-]{0,30}:\s*$|\*\*[\w .'-]{1,30}:?\*\*:?\s*$)")
_QUOTING_TAGS = ("code", "pre", "blockquote", "kbd", "samp")
_TAG = re.compile(rf"<(/?)(?:{'|'.join(_QUOTING_TAGS)})\b[^>]{{0,200}}>", re.IGNORECASE)
_PAIRS = (("“", "”"), ("«", "»"), ("\u2039", "\u203a"), ("「", "」"), ("『", "』"), ("《", "》"), ("„", "“"))
_SENTENCE_END = re.compile(r"[.!?…][\"'”\u2019)\]]*\s+|[。\uff01\uff1f]|\n")
_CUE_BEFORE = re.compile(
    r"\b(?:phrases?|expressions?|strings?|tokens?|tags?|markers?|markup|messages?|sa(?:y|ys|id|ying)|tells?|told"
    r"|repl(?:y|ies|ied)"
    r"|respon(?:d|ds|ded)|responses? (?:is|are|was|were)|answer(?:s|ed)?|wrote|writes|outputs?|printed|prints?"
    r"|(?:beg[ai]n(?:s|ning)?|start(?:s|ing|ed)?)"
    r" with|such as|e\.g|called|named|quot(?:e|es|ed|ing)|contain(?:s|ed|ing)?|dit|disait|r[eé]pond\w*|phrases?"
    r"|comme|tel(?:le)?s? que"
    r"|sagt\w*|antwort\w*|[Ss]atz|wie|dice|dijo|responde\w*|respondi[oó]|frases?|como|disse|rispo\w+|zegt|zei"
    r"|antwoord\w*"
    r"|фраз\w+|сказал\w*|ответ\w+)\b|说|回答|答え|言っ|という",
    re.IGNORECASE,
)
_CUE_AFTER = re.compile(
    r"[^\w<\[\n.!?]{0,4}(?:is|are|was|were|means?|marks?|appears?|tokens?|strings?|markers?|markup|tags?|tells?"
    r"|said|says?|replie[sd]|repeated|and so on)\b",
    re.IGNORECASE,
)
_SENTENCE_MARKS = tuple('.!?)"”。')


@dataclass(frozen=True)
class Page:
    """One text with what the judging of a phrase asks about it.

    Attributes:
        text: The text.
        own: Spans of the phrases that are judged; words inside of them do not make a page one about models.
    """

    text: str
    own: list[tuple[int, int]] = field(default_factory=list)

    @cached_property
    def mentions(self) -> list[int]:
        """Positions of words about models, outside the phrases themselves."""
        starts = sorted(self.own)
        found = []
        for match in _ABOUT.finditer(self.text):
            before = bisect_left(starts, (match.end(), 0))
            if not any(
                start < match.end() and match.start() < end for start, end in starts[max(0, before - 8) : before]
            ):
                found.append(match.start())
        return found

    @cached_property
    def is_about_models(self) -> bool:
        """Whether the page discusses models: in its title, or often."""
        first_line = len(self.text) - len(self.text.lstrip())
        title = self.text.find("\n", first_line, first_line + _TITLE)
        in_title = title > 0 and bool(self.mentions) and self.mentions[0] < title
        return in_title or len(self.mentions) >= max(_DISCUSSED, len(self.text) / _DENSITY)

    @cached_property
    def _fences(self) -> list[int]:
        return [match.start() for match in _FENCE.finditer(self.text)]

    @cached_property
    def _tags(self) -> list[tuple[int, bool]]:
        return [(match.start(), not match[1]) for match in _TAG.finditer(self.text)]

    def is_near_mention(self, start: int, end: int, reach: int) -> bool:
        """Say whether a word about models stands within `reach` characters of a phrase."""
        at = bisect_left(self.mentions, start - reach)
        return at < len(self.mentions) and self.mentions[at] < end + reach

    def line_before(self, start: int) -> str:
        """Give what stands before a phrase in its line, the last 600 characters."""
        before = self.text[max(0, start - LOOK_BACK) : start]
        return before[before.rfind("\n") + 1 :]

    def is_first(self, start: int) -> bool:
        """Say whether nothing but blanks or one short title line stands before a phrase."""
        before = self.text[: min(start, 4 * _TITLE)].strip("\ufeff \n\t")
        title_only = len(before) <= _TITLE and "\n" not in before and not self.line_before(start).strip()
        return start <= 4 * _TITLE and (not before or title_only)

    def begins_line(self, start: int) -> bool:
        """Say whether only blanks stand before a phrase in its line."""
        return not self.line_before(start).strip("\ufeff \t*_")

    def ends_line(self, end: int) -> bool:
        """Say whether only blanks stand after a phrase in its line."""
        stop = self.text.find("\n", end, end + LOOK_BACK)
        return not self.text[end : stop if stop >= 0 else end + LOOK_BACK].strip(" \t\r*_")

    def is_at_sentence_end(self, start: int, end: int) -> bool:
        """Say whether a phrase stands around the end of a sentence or clings to a word, as citations do."""
        before = self.text[max(0, start - 2) : start].rstrip(" 【[(")[-1:]
        clings = self.text[max(0, start - 1) : start].isalnum()
        return clings or before in _SENTENCE_MARKS or self.text[end : end + 1] in _SENTENCE_MARKS or self.ends_line(end)

    def is_quoted(self, start: int, end: int, *, indented: bool = True) -> bool:
        """Say whether a phrase stands in code (`indented` lines count), a quotation, or a speaker's mouth."""
        line = self.line_before(start)
        return (
            self._in_code(start, line)
            or (indented and bool(_INDENTED.match(line)))
            or bool(_QUOTING_LINE.match(line))
            or self._in_marks(self._paragraph_before(start))
            or self._in_apostrophes(start, end)
        )

    def has_cue(self, start: int, end: int) -> bool:
        """Say whether the sentence around a phrase introduces it: `it replied that ...`, `... is a marker`."""
        line = self.line_before(start)
        sentence = _SENTENCE_END.split(line)[-1]
        return bool(_CUE_BEFORE.search(sentence[-_CUE_REACH:])) or bool(_CUE_AFTER.match(self.text, end, end + 80))

    def _in_code(self, start: int, line: str) -> bool:
        if bisect_left(self._fences, start) % 2 or re.sub("`+", "`", line).count("`") % 2:
            return True
        tag = bisect_left(self._tags, (start, False)) - 1
        return tag >= 0 and self._tags[tag][1]

    def _paragraph_before(self, start: int) -> str:
        before = self.text[max(0, start - LOOK_BACK) : start]
        return before[before.rfind("\n\n") + 1 :]

    @staticmethod
    def _in_marks(before: str) -> bool:
        low = "„" in before  # then “ closes
        pairs = _PAIRS[1:] if low else _PAIRS[:-1]
        return before.replace('"""', "").count('"') % 2 == 1 or any(
            before.rfind(opening) > before.rfind(close) for opening, close in pairs
        )

    def _in_apostrophes(self, start: int, end: int) -> bool:
        opened = re.search(
            r"(?:^|[\s(\[])['\u2018](?=\w)(?![^\n]*?\w['\u2019](?:[\s.,;:!?)\]]"
            r"|$))[^\n]*$",
            self.line_before(start) + "x",
        )
        return bool(opened) and bool(
            re.search(r"[\w.,!?…]['\u2019](?:[\s.,;:!?)\]]|$)", self.text[end : end + LOOK_BACK])
        )
