"""The dashboard's one page, served at every address that no other door claims."""

from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie

from studio.core.errors import to_body

_INDEX = Path(settings.BASE_DIR) / "static" / "dashboard" / "index.html"
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob: https:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
)


@ensure_csrf_cookie
def dashboard(request: HttpRequest) -> HttpResponse:
    """Answer the built page, never cached, so that a new build is seen at once."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(status=405)
    if not _INDEX.exists():
        return HttpResponse(
            "The dashboard is not built: run `make frontend`.",
            status=503,
            content_type="text/plain",
        )
    response = HttpResponse(_INDEX.read_bytes(), content_type="text/html; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@csrf_exempt  # programs that probe for a door have no cookie, and must hear 404
def unknown_api(request: HttpRequest) -> JsonResponse:
    """Answer an address below a program's door that leads nowhere."""
    sentence = f"There is no {request.path[:200]} here: see /api/docs/."
    # Hugging Face's clients show a person this header and not the body.
    told = " ".join(sentence.split()).encode("ascii", "replace").decode()
    headers = {"X-Error-Message": told}
    return JsonResponse(to_body("not_found", sentence), status=404, headers=headers)
