"""The text form that the model reads, for training rows: the same in effect as the worker's own normaliser."""

import re
import unicodedata
from html import unescape

MENTION = re.compile(r"(?<![\w@/])@\w+")
LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)


def model_text(text: str) -> str:
    """NFC, HTML entities decoded, mentions as @user, links as http, white space collapsed and stripped."""
    text = unicodedata.normalize("NFC", unescape(text))
    return " ".join(MENTION.sub("@user", LINK.sub("http", text)).split())
