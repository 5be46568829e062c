"""The page behind a one-time sign-in link: a button, so that a link preview does not use it up."""

from typing import Any

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from studio.accounts.selectors import find_signin_link
from studio.accounts.services import use_signin_link

_BACKEND = "django.contrib.auth.backends.ModelBackend"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # The address is a secret; without an origin the form would not pass the CSRF check.
    "Referrer-Policy": "same-origin",
}


@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def signin(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button; pressed, use the link up, sign its person in and go to the dashboard."""
    if request.method != "POST":
        link = find_signin_link(token)
        return _show(request, link is not None, user=link.user if link else None)
    user = use_signin_link(raw=token)
    if user is None:
        return _show(request, False)
    login(request, user, backend=_BACKEND)
    return HttpResponseRedirect("/")


def _show(request: HttpRequest, is_good: bool, **names: Any) -> HttpResponse:
    shown = {"is_good": is_good, **names}
    response = render(request, "accounts/signin.html", shown, status=200 if is_good else 410)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response
