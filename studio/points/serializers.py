"""The shapes of points at the API. All amounts are whole milli-points."""

from rest_framework import serializers

from studio.core.sentences import ToldOutput
from studio.points.models import Reason
from studio.points.services import MOST_MPOINTS


class PointsOutput(serializers.Serializer):
    available_mpoints = serializers.IntegerField()
    held_mpoints = serializers.IntegerField()
    total_mpoints = serializers.IntegerField()
    burn_mpoints_per_hour = serializers.IntegerField(help_text="What runs now costs.")
    unwritten_mpoints = serializers.IntegerField(
        help_text="Used by running machines, not held any more, and on the statement soon."
    )
    runs_out_at = serializers.DateTimeField(
        allow_null=True, help_text="When nothing is left at this rate; null while nothing runs."
    )


class StatementLineOutput(serializers.Serializer):
    id = serializers.IntegerField()
    time = serializers.DateTimeField(help_text="Of the last move that the line stands for.")
    begun_at = serializers.DateTimeField(help_text="Of the first.")
    num_moves = serializers.IntegerField(help_text="1, but for a line of a whole run.")
    reason = serializers.ChoiceField(Reason.choices)
    note = serializers.CharField(allow_blank=True)
    told = ToldOutput(allow_null=True, help_text="The note, for pages in other languages.")
    job_id = serializers.UUIDField(allow_null=True)
    job_name = serializers.CharField(allow_null=True)
    run_index = serializers.IntegerField(allow_null=True)
    available_change_mpoints = serializers.IntegerField()
    held_change_mpoints = serializers.IntegerField()
    available_after_mpoints = serializers.IntegerField()
    held_after_mpoints = serializers.IntegerField()
    by = serializers.CharField(allow_null=True, help_text="Who did it; null is the studio.")


class StatementTotals(serializers.Serializer):
    available_mpoints = serializers.IntegerField()
    held_mpoints = serializers.IntegerField()
    total_mpoints = serializers.IntegerField()
    sum_available_mpoints = serializers.IntegerField(help_text="Sum of all lines' changes.")
    sum_held_mpoints = serializers.IntegerField(help_text="Sum of all lines' changes.")


class StatementOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = StatementLineOutput(many=True)
    totals = StatementTotals()


class GrantInput(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    mpoints = serializers.IntegerField(min_value=1, max_value=MOST_MPOINTS)
    note = serializers.CharField(max_length=200, allow_blank=True, default="")
