"""Replies: an answer in JSON, or a refusal of one line."""

from fastapi import Response

from towers.service.cards import written


def reply(text: str) -> Response:
    """Returns a response whose body is `text`, which is JSON already."""
    return Response(text.encode(errors="replace"), media_type="application/json")


def refusal(status: int, message: str) -> Response:
    """Returns a response with `{"error": message}`, the message on one line."""
    text = written({"error": " ".join(message.split())})
    return Response(text.encode(errors="replace"), status, media_type="application/json")
