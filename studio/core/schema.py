"""What OpenAPI leaves out: doors whose shape is somebody else's protocol, and the nodes' own."""

from typing import Any

_FOREIGN = ("/api/internal/", "/v1/", "/api/models", "/api/datasets", "/api/repos", "/api/whoami")
# What OpenAPI calls sets of words that several fields share a name for.
ENUM_NAMES = {
    "ToldCodeEnum": "studio.core.sentences.CODES",
    "MembershipEnum": "studio.accounts.models.Membership.values",
    "LabelKindEnum": "studio.labelling.models.TaskKind",
    "DriveWorkKindEnum": "studio.drive.models.WorkKind.values",
    "PersonRoleEnum": "studio.accounts.models.Role",
    "AudienceEnum": "studio.machines.models.Audience.values",
    "MachineStatusEnum": "studio.machines.models.Status.values",
    "MachineReasonEnum": "studio.machines.models.Reason",
    "RepoKindEnum": "studio.hub.models.Kind.values",
    "RepoRoleEnum": "studio.hub.models.Role.values",
    "ArtifactRoleEnum": "studio.jobs.serializers.ARTIFACT_ROLES",
    "PointsReasonEnum": "studio.points.models.Reason",
    "RowFormatEnum": "studio.jobs.serializers.FORMATS",
    "LabelVerdictEnum": "studio.labelling.serializers.VERDICTS",
    "DatasetVerdictEnum": "studio.jobs.serializers.VERDICTS",
    "RunReasonEnum": "studio.jobs.serializers.REASONS",
    "RunStatusEnum": "studio.jobs.serializers.STATUSES",
}
_PROBLEM = {
    "code": {"type": "string"},
    "message": {"type": "string", "description": "One English sentence."},
    "field": {"type": "string", "nullable": True, "description": "Dotted, as `spec.lora.rank`."},
    "params": {"type": "object", "additionalProperties": {}},
}
_REFUSAL = {
    "type": "object",
    "required": list(_PROBLEM),
    "properties": {
        **_PROBLEM,
        "errors": {
            "type": "array",
            "description": "Every problem, where a body had several.",
            "items": {"type": "object", "required": list(_PROBLEM), "properties": _PROBLEM},
        },
    },
}


def leave_out_foreign_doors(
    endpoints: list[tuple[str, str, str, Any]],
) -> list[tuple[str, str, str, Any]]:
    """Keep the studio's own API only."""
    return [entry for entry in endpoints if not entry[0].startswith(_FOREIGN)]


def add_refusals(result: dict[str, Any], **context: Any) -> dict[str, Any]:
    """Say of every door that it refuses in the one shape."""
    result["components"]["schemas"]["Refusal"] = _REFUSAL
    shape = {"$ref": "#/components/schemas/Refusal"}
    answer = {"description": "Refused.", "content": {"application/json": {"schema": shape}}}
    for door in result["paths"].values():
        for operation in door.values():
            operation["responses"].setdefault("4XX", answer)
    return result
