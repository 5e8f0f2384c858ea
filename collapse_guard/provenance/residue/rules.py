"""What chat interfaces leave behind, and how much each thing weighs where it stands.

Sources: Wikipedia, "Signs of AI writing" (citation tokens); the chat templates that model families publish; the wording
of refusals is the models' own.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple


class Place(Enum):
    """Where a phrase must stand to weigh in full."""

    ANYWHERE = auto()
    LINE = auto()
    OWN_LINE = auto()
    OPENING = auto()
    CITATION = auto()


class Manner(NamedTuple):
    """How a kind of phrase is judged: the levels that its surroundings take away.

    Attributes:
        place: Where it weighs in full.
        displaced: Taken away elsewhere.
        reach: Characters on both sides in which words about models count as near.
        near: Taken away where they are near.
        about: Taken away where the page is about models.
        first: Most that is taken away where it opens the page.
        repeated: So many in one page are worth a level more.
    """

    place: Place
    displaced: int
    reach: int
    near: int
    about: int
    first: int
    repeated: int


class Rule(NamedTuple):
    """One kind of residue.

    Attributes:
        name: Of the finding.
        level: 3 strong, 2 medium, 1 weak, before its surroundings.
        manner: How these count.
        literals: One of them is in every match, whatever the case of ASCII letters.
        pattern: What is found.
    """

    name: str
    level: int
    manner: Manner
    literals: tuple[str, ...]
    pattern: re.Pattern[str]


_NEVER = 1 << 30
_TOKEN = Manner(Place.CITATION, displaced=1, reach=300, near=2, about=1, first=3, repeated=3)
_TEMPLATE = Manner(Place.LINE, displaced=1, reach=500, near=3, about=3, first=3, repeated=3)
_SPEECH = Manner(Place.LINE, displaced=1, reach=300, near=2, about=3, first=1, repeated=_NEVER)
_OPENER = Manner(Place.OPENING, displaced=3, reach=200, near=1, about=1, first=1, repeated=_NEVER)
_INTERFACE = Manner(Place.OWN_LINE, displaced=3, reach=300, near=2, about=3, first=2, repeated=_NEVER)
_URL = Manner(Place.ANYWHERE, displaced=0, reach=100, near=1, about=1, first=1, repeated=5)
_BLANK = Manner(Place.ANYWHERE, displaced=0, reach=200, near=1, about=1, first=1, repeated=_NEVER)

_DIGITS = "0123456789"
_SORTS = "search|view|news|image|file|fetch|forecast|finance|sports|product|academia|reddit|youtube|maps?|click"
_NOT = r"(?:can(?:no|'| no)?t|(?:am|'m) (?:unable|not able) to|do(?: no|n')t)"
_DEEDS = r"(?:fulfil+|assist|help|comply|complete|provide|generate|create|continue|process|answer|write|produce|engage)"
_ASKED = r"(?:requests?|prompts?|tasks?|contents?)"
_SORRY = rf"\b(?:I(?:'m| am)? ?)?(?:very |truly )?(?:sorry|apologi[sz]e),? but I ?{_NOT} (?:\w+ ){{0,2}}?"
_MODEL = (
    r"(?:(?:large |ai[- ]|artificial[- ]intelligence |text[- ]based |conversational |machine[- ]learning ){0,4}"
    r"(?:language model|chat ?bot|ai model|(?:ai|artificial intelligence)(?:[- ](?:powered |based )?assistant)?))"
)
_MAKER = r"(?:,? (?:trained|developed|created|made|designed|built|programmed)(?: by| to)[^,.\n]{0,60})?"


def _rule(name: str, level: int, manner: Manner, literals: str, pattern: str, *, flags: int = re.IGNORECASE) -> Rule:
    """Make a rule; its literals are separated by `;`, and `'` in them and in its pattern stands for U+2019 too."""
    both = [
        *literals.split(";"),
        *(literal.replace("'", "\u2019") for literal in literals.split(";") if "'" in literal),
    ]
    compiled = re.compile(pattern.replace("'", "['\u2019]"), flags | re.MULTILINE)
    return Rule(name, level, manner, tuple(both), compiled)


CHAT = (
    _rule(
        "chat:oaicite",
        3,
        _TOKEN,
        "oaicite:;oai_citation;oaicitation",
        r":{0,2}(?:contentReference)?\[oaicite:\d+\](?:\{index=\d+\})?"
        r"|\[?oai_?citation(?:_attribution)?:\d+(?:‡[^\]\s]{0,80})?\]?(?:\([^)\s]{0,200}\))?",
    ),
    _rule(
        "chat:turn",
        3,
        _TOKEN,
        ";".join(f"turn{digit}" for digit in _DIGITS),
        rf"(?:(?:file)?cite|navlist|video|[\ue200-\ue202])*(?:turn\d{{1,3}}(?:{_SORTS})\d{{1,3}}[\ue200-\ue202]?)+",
    ),
    _rule(
        "chat:private_use",
        3,
        _TOKEN,
        ";".join(f"\ue200{letter}" for letter in "cfneuiv"),
        r"\ue200(?:cite|filecite|navlist|entity|image_group|url|i|video)\ue202[^\ue201\n]{0,300}\ue201",
    ),
    _rule(
        "chat:dagger",
        3,
        _TOKEN,
        ";".join(f"【{digit}" for digit in _DIGITS),
        r"(?:【\d{1,3}(?::\d{1,3})?†[^】\n]{1,60}】)+",
    ),
    _rule(
        "chat:grok_card",
        3,
        _TOKEN,
        "grok_card;grok-card;grok:render;grok_render",
        r"</?grok[-_:](?:card|render)\b[^>\n]{0,200}>(?:</grok[-_:]\w+>)?|\[?\bgrok_(?:card"
        r"|render_\w+)\b[^\s\]]{0,100}\]?",
    ),
    _rule(
        "chat:attributable_index",
        3,
        _TOKEN,
        "attributableindex",
        r"\(?\{+\"attribution\":\{\"attributableIndex\":\"[\d-]+\"\}+\)?|\battributableIndex\b",
    ),
    _rule(
        "chat:utm_source",
        1,
        _URL,
        "utm_source=chatgpt.com;utm_source=openai;utm_source=copilot.com;utm_source=perplexity",
        r"utm_source=(?:chatgpt\.com|openai(?:\.com)?|copilot\.com|perplexity(?:\.ai)?)\b",
    ),
)

TEMPLATES = (
    _rule(
        "template:roles",
        2,
        _TEMPLATE,
        "<|im_;<|eot_id;<|start_header;<|end_header;<|begin_of;<|end_of;<|endoftext;<|assistant;<|user;<|system;<"
        "|start_of;"
        "<start_of_turn;<end_of_turn",
        r"<\|(?:im_(?:start|end|sep)|eot_id|(?:start|end)_header_id|begin_of_text|end_of_text|endoftext|(?:start"
        r"|end)_of_role"
        r"|assistant|user|system)\|>(?:system|user|assistant)?|<(?:start|end)_of_turn>(?:user|model)?",
    ),
    _rule(
        "template:inst",
        2,
        _TEMPLATE,
        "[inst];[/inst];<<sys>>;<</sys>>",
        r"\[INST\](?=[^\n]*\S)|\[/INST\]|<</?SYS>>",
        flags=0,
    ),
    _rule(
        "template:headings",
        2,
        _TEMPLATE,
        "### assistant:;### human:;### response:",
        r"^### (?:Assistant|Human):|^### Instruction:[^#]{0,4000}^### (?:Input:[^#]{0,4000}^### )?Response:",
    ),
    _rule(
        "template:think",
        2,
        _TEMPLATE,
        "<think>;</think>",
        r"^[ \t]*<think>\s|</think>",
    ),
)

SPEECH = (
    _rule(
        "speech:model",
        3,
        _SPEECH,
        "language model;ai assistant;ai-powered assistant;as an ai ;as an ai-;as an artificial;as a text;"
        "as a conversational;as a chatbot",
        rf"\b(?:as|being) an? (?!(?:ai|artificial intelligence),? ){_MODEL}{_MAKER},? (?:I|my)\b"
        rf"|\bas an ai(?: language)? (?:model|assistant){_MAKER},? (?:I|my|it is not)\b"
        r"|\bI(?:'m| am) (?:just |only |simply )?an? (?:large |ai )?language model\b"
        r"|\bI(?:'m| am) (?:\w+, )?an ai assistant (?:created|made|developed|trained) by\b",
    ),
    _rule(
        "speech:ai",
        2,
        _SPEECH,
        "as an ai, i;as an ai i;as an artificial intelligence",
        rf"\bas an (?:ai|artificial intelligence){_MAKER},? I (?:{_NOT}|have no|am not|don't|lack|must)\b",
    ),
    _rule(
        "speech:cutoff",
        3,
        _SPEECH,
        "my last knowledge;my knowledge;my most recent;my training;my last training;my latest",
        r"\b(?:as of|up to|until|at the time of) my (?:last |latest |most recent )?(?:knowledge|training) "
        r"(?:update|cut[- ]?off)\b|\bmy knowledge cut[- ]?off\b"
        r"|\bmy training data (?:only )?(?:goes|extends|includes information|cuts off|was last updated)"
        r" (?:only )?(?:up )?(?:to|until|in) (?:\w+ )?20\d\d\b",
    ),
    _rule(
        "speech:access",
        2,
        _SPEECH,
        "real-time;real time;browse the;browsing capabilities",
        r"\bI (?:do not|don't) (?:currently )?have (?:direct access to |access to |the ability to access )?"
        r"(?:real[- ]time (?:data|information|updates)|browsing capabilities"
        r"|the ability to browse the (?:internet|web))",
    ),
    _rule(
        "speech:refusal",
        2,
        _SPEECH,
        "sorry, but i;sorry but i;apologize, but i;apologize but i;apologise, but i;cannot fulfil;can't fulfil;"
        "unable to fulfil;not able to fulfil;can't assist with;cannot assist with;unable to assist with;"
        "can't comply with;cannot comply with;can't help with that;"
        "cannot help with that;can't create content;cannot create content;cannot provide inf;can't provide inf",
        rf"{_SORRY}{_DEEDS}\b[^.\n]{{0,60}}?\b{_ASKED}\b|{_SORRY}(?:assist|comply) with (?:that|this)\b"
        rf"|\bI ?{_NOT} (?:fulfil+|assist with|comply with) (?:this|that|your|the"
        rf"|such)(?: [\w-]+){{0,2}} (?:requests?|prompts?)\b",
    ),
    _rule(
        "speech:sorry",
        1,
        _SPEECH,
        "sorry, but i;sorry but i;apologize, but i;apologise, but i",
        rf"{_SORRY}(?:help|provide|answer|continue|discuss) [^.\n]{{0,40}}?\b(?:that|this|information|topics?)\b",
    ),
    _rule(
        "speech:policy",
        3,
        _SPEECH._replace(place=Place.ANYWHERE),
        "openai use polic;openai's use polic;openai usage polic;openai's usage polic;"
        "openai's content polic;openai content polic;openai policy;openai's policy;"
        "openai use case polic;openai's use case polic",
        r"\b(?:goes|go|going|is|be) against (?:the )?openai(?:'s)? (?:use(?: case)? |usage |content )?polic(?:y|ies)"
        r"|\bviolates? (?:the )?openai(?:'s)? (?:use(?: case)? |usage |content )?polic(?:y|ies)",
    ),
    _rule(
        "speech:fr",
        3,
        _SPEECH,
        "en tant qu",
        r"\ben tant qu(?:e |')(?:une? )?(?:assistant (?:d')?IA|mod[eè]le (?:de langage|linguistique|d'IA)|IA"
        r"|intelligence artificielle|agent conversationnel)\b[^,.\n]{0,60},? (?:je|j'|mes)",
    ),
    _rule(
        "speech:de",
        3,
        _SPEECH,
        "als ki;sprachmodell;als künstliche intelligenz;als k",
        r"\bals (?:ein(?:e)? )?(?:großes )?(?:KI(?:-(?:Sprachmodell|Assistentin?|Modell|System|Chatbot))?"
        r"|(?:KI-)?Sprachmodell"
        r"|künstliche Intelligenz)\b[^,.\n]{0,60}?,? (?:kann|habe|bin|darf|verfüge|besitze|möchte) ich\b",
    ),
    _rule(
        "speech:es",
        3,
        _SPEECH,
        "modelo de lenguaje;modelo de ia;inteligencia artificial;asistente de ia;asistente ia;virtual de ia;"
        "virtual ia;como ia;como una ia",
        r"\bcomo (?:una? )?(?:gran )?(?:modelo de (?:lenguaje|IA)|(?:asistente (?:virtual )?(?:de )?)?"
        r"(?:IA|inteligencia artificial))\b[^,.\n]{0,60},"
        r" (?:yo|no (?:puedo|tengo|poseo|soy)|mi|soy|estoy|carezco|lamentablemente)",
    ),
    _rule(
        "speech:it",
        3,
        _SPEECH,
        "modello linguistico;intelligenza artificiale;modello di linguaggio;come ia;come ai;come un;in quanto",
        r"\b(?:come|in quanto) (?:un[oa]? |un')?(?:grande )?(?:modello (?:linguistico|di linguaggio)"
        r"|(?:assistente )?(?:IA|AI)|intelligenza artificiale)\b[^,.\n]{0,60}, (?:io|non (?:posso|ho|sono)|mi|sono)",
    ),
    _rule(
        "speech:pt",
        3,
        _SPEECH,
        "modelo de linguagem;modelo de ia;inteligência artificial;como ia;como uma ia;assistente",
        r"\bcomo (?:uma? )?(?:grande )?(?:modelo de (?:linguagem|IA)|(?:assistente (?:virtual )?(?:de )?)?"
        r"(?:IA|inteligência artificial))\b[^,.\n]{0,60}, (?:eu|não (?:posso|tenho|possuo|sou|consigo)|meu|minha|sou)",
    ),
    _rule(
        "speech:nl",
        3,
        _SPEECH,
        "taalmodel;als ai;kunstmatige intelligentie",
        r"\bals (?:een )?(?:groot )?(?:AI(?:[- ](?:taalmodel|assistent|model))?|taalmodel"
        r"|kunstmatige intelligentie)\b[^,.\n]{0,60}?,?"
        r" (?:kan|heb|ben|mag|beschik) ik\b",
    ),
    _rule(
        "speech:pl",
        3,
        _SPEECH,
        "model językowy;sztuczna inteligencja;jako ai",
        r"\bjako (?:duży )?(?:model językowy|sztuczna inteligencja|AI|asystent AI)\b[^,.\n]{0,60}, nie (?:mogę|mam"
        r"|posiadam|jestem)",
    ),
    _rule(
        "speech:ru",
        3,
        _SPEECH,
        "языковая модель;искусственный интеллект;модель искусственного",
        r"\b(?:как|будучи) (?:большая )?(?:языковая модель|искусственный интеллект"
        r"|модель искусственного интеллекта|ИИ-модель)"
        r"[^,.\n]{0,40}, (?:я|\u0443 меня)\b"
        r"|\bя (?:всего лишь )?(?:большая )?языковая модель",
    ),
    _rule(
        "speech:zh",
        3,
        _SPEECH,
        "作为一个ai;作为一名ai;作为一种ai;作为ai;作为一个人工智能;作为一名人工智能;作为一种人工智能;作为人工智能;语言模型;"
        "作为大;作为一个大;我是一个ai;我是一个人工智能",
        r"作为(?:一个|一名|一种)?(?:大型?)?(?:(?:AI|人工智能)(?:语言)?(?:模型|助手|程序)|语言模型)[^。\n]{0,20}?[,\uff0c、]?我(?:无法|不能|没有|并?不具备|的)"
        r"|作为(?:一个|一名)?(?:AI|人工智能)[,\uff0c]我(?:无法|不能|没有)"
        r"|我是一个(?:AI|人工智能)(?:语言)?(?:模型|助手|程序)?[,\uff0c](?:无法|不能|没有)",
    ),
    _rule(
        "speech:ja",
        3,
        _SPEECH,
        "ai言語モデル;言語モデル;aiアシスタント;aiとして;aiですので;aiなので",
        r"(?:AI|大規模)?言語モデル(?:として|ですので|なので|であるため|のため)[、,]?[^。\n]{0,20}?(?:私|わたし|でき|お答え|持って)"
        r"|私は(?:AI|人工知能)(?:言語モデル|アシスタント)?(?:ですので|なので|であるため|のため)"
        r"|AI(?:アシスタント)?として[、,]私は",
    ),
    _rule(
        "speech:ko",
        3,
        _SPEECH,
        "언어 모델;언어모델;ai로서",
        r"(?:저는 )?(?:AI|인공지능|대규모)? ?언어 ?모델(?:로서|이기 때문에|이므로)|(?:저는 )AI로서",
    ),
    _rule(
        "speech:tr",
        3,
        _SPEECH,
        "dil modeli olarak;yapay zeka olarak",
        r"\bbir (?:yapay zek[aâ] )?(?:dil modeli|yapay zek[aâ]) olarak,? [^.\n]{0,80}?(?:\w{1,30}(?:m\u0131yorum"
        r"|miyorum|amam|emem)|yok)\b",
    ),
)

OPENERS = (
    _rule(
        "opener:version",
        3,
        _OPENER,
        "rewritten;revised;reworded;paraphrased;polished;rephrased;humanized;improved version;expanded version",
        r"\b(?:sure|certainly|of course|absolutely|great|got it|yes)\b[^.\n]{0,40}?[,!.:\u2013\u2014-]+ ?"
        r"(?:here(?:'s| is| are)|below is)"
        r" (?:an?|the|your|some|my) [^.:\n]{0,40}?\b(?:re(?:written|vised|worded|phrased)|paraphrased|polished"
        r"|humanized|improved|expanded)\b"
        r"|\bhere(?:'s| is) (?:an?|the|your) (?:rewritten|reworded|paraphrased|rephrased|humanized|polished)"
        r" (?:version|text|article|paragraph|passage|draft|essay)\b",
    ),
    _rule(
        "opener:certainly",
        2,
        _OPENER,
        "certainly!;certainly, here;of course! here;absolutely! here;sure! here;sure, here;sure thing! here",
        r"\bcertainly[!,.] ?(?:here(?:'s| is| are)|below (?:is|are)|i(?:'d| would) be happy to)\b"
        r"|\b(?:of course|absolutely|sure(?: thing)?)[!,] ?here(?:'s| is| are) (?:an?|the|your|some|\d+) [^.\n]{0,60}?"
        r"\b(?:article|essay|blog post|outline|drafts?|product descriptions?|meta descriptions?|summary"
        r"|introduction|story|poem|letter"
        r"|email|captions?|titles?|headlines?|press release|script)\b",
    ),
    _rule(
        "opener:other",
        2,
        _OPENER,
        "voici une;voici un;voici la;voici le;hier ist;aquí tienes;aquí está;ecco un;ecco la;ecco il;aqui está;"
        "hier is;当然;以下是",
        r"\b(?:bien s[uû]r|certainement) ?!? ?[,!.:]? ?voici (?:une?|la|le|votre) (?:version|texte|article"
        r"|r[eé]sum[eé]|traduction|proposition)"
        r"|\b(?:natürlich|gerne|sicher)[!,.] ?hier ist (?:eine?|der|die|dein|ihr)\w* (?:überarbeitete"
        r"|umformulierte|verbesserte|Version|Text|Artikel)"
        r"|¡?(?:claro|por supuesto|desde luego)[!,.]? ?(?:que s[ií][!,.] ?)?aqu[ií] (?:tienes|está"
        r"|te dejo) (?:una?|el|la|tu) "
        r"(?:versi[oó]n|texto|art[ií]culo|resumen|traducci[oó]n|borrador)"
        r"|\b(?:certo|certamente|naturalmente)[!,.] ?ecco (?:un[ao]?|il|la|una) (?:versione|testo|articolo"
        r"|riassunto|bozza)"
        r"|\b(?:claro|com certeza|certamente)[!,.] ?aqui está (?:uma?|o|a) (?:versão|texto|artigo|resumo|rascunho)"
        r"|\b(?:natuurlijk|zeker)[!,.] ?hier is (?:een|de|het) (?:herschreven|versie|tekst|artikel|samenvatting)"
        r"|当然(?:可以)?[!\uff01,\uff0c。] ?(?:以下是|这里是|下面是)",
    ),
)

INTERFACE = (
    _rule("interface:regenerate", 3, _INTERFACE, "regenerate response", r"\bregenerate response\b"),
    _rule(
        "interface:mistakes",
        3,
        _INTERFACE,
        "can make mistakes. ",
        r"\b(?:ChatGPT|Gemini|Claude|Copilot) can make mistakes\. (?:check important info"
        r"|consider checking important information"
        r"|please double-check responses)\b[^\n]{0,40}",
    ),
    _rule(
        "interface:offer",
        1,
        _INTERFACE,
        "would you like me to",
        r"\bwould you like me to (?:expand|revise|adjust|create|turn|generate|add|make|draft|rewrite|tailor"
        r"|provide|continue)\b[^?\n]{0,200}\?",
    ),
    _rule(
        "placeholder:insert",
        1,
        _BLANK,
        "[insert ;[your name];[your company name]",
        r"\[insert [^\]\n]{2,40} here\]|\[your (?:company )?name\]",
    ),
)

RULES = (*CHAT, *TEMPLATES, *SPEECH, *OPENERS, *INTERFACE)
