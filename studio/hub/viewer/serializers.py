"""The shapes of tables, rows and statistics at the API."""

from rest_framework import serializers

from studio.hub.serializers import RevisionInput


class ViewerSplitOutput(serializers.Serializer):
    name = serializers.CharField()
    format = serializers.CharField()
    paths = serializers.ListField(child=serializers.CharField())
    num_files = serializers.IntegerField()


class ViewerConfigOutput(serializers.Serializer):
    name = serializers.CharField()
    splits = ViewerSplitOutput(many=True)


class ViewerTablesOutput(serializers.Serializer):
    configs = ViewerConfigOutput(many=True)


class ViewerCellOutput(serializers.Serializer):
    kind = serializers.ChoiceField(
        choices=["null", "number", "bool", "text", "json", "bytes", "image", "audio"]
    )
    text = serializers.CharField(allow_blank=True)
    is_cut = serializers.BooleanField()
    url = serializers.CharField(allow_blank=True)


class ViewerRowOutput(serializers.Serializer):
    index = serializers.IntegerField()
    cells = ViewerCellOutput(many=True)


class ViewerPageOutput(serializers.Serializer):
    columns = serializers.ListField(child=serializers.CharField())
    types = serializers.ListField(child=serializers.CharField())
    rows = ViewerRowOutput(many=True)
    total = serializers.IntegerField(allow_null=True)
    has_more = serializers.BooleanField()
    is_partial = serializers.BooleanField()
    num_seen = serializers.IntegerField()


class ViewerTopOutput(serializers.Serializer):
    value = serializers.CharField(allow_blank=True)
    count = serializers.IntegerField()


class ViewerWholeOutput(serializers.Serializer):
    min = serializers.FloatField(required=False)
    max = serializers.FloatField(required=False)
    num_null = serializers.IntegerField(required=False)


class ViewerColumnOutput(serializers.Serializer):
    name = serializers.CharField(allow_blank=True)
    kind = serializers.CharField()
    num_null = serializers.IntegerField()
    num_nan = serializers.IntegerField(required=False)
    min = serializers.FloatField(required=False, help_text="Of a text or a list: of its length.")
    max = serializers.FloatField(required=False)
    mean = serializers.FloatField(required=False)
    bins = serializers.ListField(child=serializers.IntegerField(), required=False)
    top = ViewerTopOutput(many=True, required=False)
    whole = ViewerWholeOutput(allow_null=True, required=False)


class ViewerStatisticsOutput(serializers.Serializer):
    columns = ViewerColumnOutput(many=True)
    num_seen = serializers.IntegerField()
    is_whole = serializers.BooleanField()
    num_rows = serializers.IntegerField(allow_null=True)


class ViewerFileInput(RevisionInput):
    path = serializers.CharField(max_length=1024, trim_whitespace=False)


class ViewerRowsInput(RevisionInput):
    path = serializers.CharField(max_length=1024, trim_whitespace=False, required=False, default="")
    config = serializers.CharField(max_length=100, required=False, default="")
    split = serializers.CharField(max_length=100, required=False, default="")
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=2**48)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=100)
    search = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)


class ViewerMediaInput(ViewerFileInput):
    row = serializers.IntegerField(required=False, allow_null=True, default=None, min_value=0)
    column = serializers.CharField(required=False, default="", max_length=1000)
