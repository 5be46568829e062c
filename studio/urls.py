"""Every HTTP address of the studio. The dashboard comes last: what no door claims is a page."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from studio.core.health import healthz
from studio.core.pages import dashboard, unknown_api

urlpatterns = [
    path("healthz", healthz),
    path("_admin/", admin.site.urls),  # `admin` is a person, with repos at /admin/...
    # Doors of allauth that send mail with links to pages that this studio does not have.
    re_path(
        r"^_allauth/\w+/v1/(?:auth/(?:password|email|phone)|account/(?:email|phone))", unknown_api
    ),
    path("_allauth/", include("allauth.headless.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("", include("studio.accounts.urls")),
    path("api/points/", include("studio.points.urls")),
    path("api/", include("studio.compute.urls")),
    path("api/", include("studio.jobs.urls")),
    path("api/hub/", include("studio.hub.urls")),
    path("api/", include("studio.hub.node_share.urls")),
    path("api/drive/", include("studio.drive.urls")),
    path("api/", include("studio.serving.urls")),
    path("api/playground/", include("studio.playground.urls")),
    path("api/labelling/", include("studio.labelling.urls")),
    path("api/imports/", include("studio.importing.urls")),
    path("api/", include("studio.machines.urls")),
    path("v1/", include("studio.serving.gateway_urls")),
    path("", include("studio.hub.transfer_urls")),
    path("", include("studio.hub.protocol_urls")),
    re_path(r"^(?:api|ws|v1|_allauth|static)(?:/|$)", unknown_api),
    re_path(r"^.*$", dashboard),
]
