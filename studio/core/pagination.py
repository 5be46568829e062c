"""Numbered pages: `?page=2&page_size=50`."""

from typing import Any

from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response


class Pages(PageNumberPagination):
    """`{count, page, page_size, results}`; at most 200 rows a page."""

    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 200

    def get_paginated_response(self, data: Any) -> Response:
        """Shape one page."""
        assert self.page is not None and self.request is not None
        return Response(
            {
                "count": self.page.paginator.count,
                "page": self.page.number,
                "page_size": self.get_page_size(self.request),
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe the shape to OpenAPI."""
        whole = {"type": "integer"}
        return {
            "type": "object",
            "required": ["count", "page", "page_size", "results"],
            "properties": {"count": whole, "page": whole, "page_size": whole, "results": schema},
        }
