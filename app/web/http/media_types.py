"""The media types that the server sends and reads."""

from collections.abc import Mapping

from ...domain.requests.fields import OutputFormat

JSON = "application/json"
HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
IMAGES: Mapping[OutputFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
