"""A quantized model's report card at the API: `engine.specs.quality`, field by field."""

from rest_framework import serializers


class QualitySchemeOutput(serializers.Serializer):
    """How the weights are held."""

    method = serializers.CharField()
    format = serializers.CharField()
    weight_bits = serializers.IntegerField()
    activation_bits = serializers.IntegerField()
    group_size = serializers.IntegerField(help_text="0: one scale for each output.")
    is_symmetric = serializers.BooleanField()


class QualityMeasuredOutput(serializers.Serializer):
    """One way to run the model, on held-out text."""

    perplexity = serializers.FloatField()
    agreement = serializers.FloatField(help_text="Share of tokens on which it is the base's.")


class QualityKvOutput(serializers.Serializer):
    """The same with keys and values rounded too."""

    int8 = QualityMeasuredOutput(required=False)
    int4 = QualityMeasuredOutput(required=False)


class QualityGreedyOutput(serializers.Serializer):
    """How long greedy answers stay those of the base."""

    mean_tokens = serializers.FloatField()
    of_tokens = serializers.IntegerField()
    num_prompts = serializers.IntegerField()


class QualityCalibrationOutput(serializers.Serializer):
    """What it was made with."""

    dataset = serializers.CharField(allow_blank=True, help_text="Blank: the engine's own set.")
    revision = serializers.CharField(allow_blank=True)
    num_windows = serializers.IntegerField()
    length_tokens = serializers.IntegerField()
    num_held_out_windows = serializers.IntegerField()
    num_held_out_tokens = serializers.IntegerField()


class QualitySpeedOutput(serializers.Serializer):
    """One stream on the host that made it."""

    device = serializers.CharField()
    engine = serializers.CharField()
    prefill_tokens_per_s = serializers.FloatField()
    decode_tokens_per_s = serializers.FloatField()
    base_prefill_tokens_per_s = serializers.FloatField()
    base_decode_tokens_per_s = serializers.FloatField()


class QualityLayerOutput(serializers.Serializer):
    """One layer's squared errors, as shares."""

    index = serializers.IntegerField()
    linear = serializers.FloatField()
    stream = serializers.FloatField()


class QualityReportOutput(serializers.Serializer):
    """The report card."""

    version = serializers.IntegerField()
    scheme = QualitySchemeOutput()
    base = serializers.CharField()
    base_revision = serializers.CharField(allow_blank=True)
    calibration = QualityCalibrationOutput()
    base_perplexity = serializers.FloatField()
    quantized = QualityMeasuredOutput()
    kv = QualityKvOutput()
    recommended_kv = serializers.ChoiceField(choices=["bf16", "int8", "int4"])
    kv_bound = serializers.FloatField()
    greedy = QualityGreedyOutput(allow_null=True)
    weights_digest = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField()
    base_size_bytes = serializers.IntegerField()
    bytes_per_weight = serializers.FloatField()
    speed = QualitySpeedOutput(allow_null=True)
    speed_note = serializers.CharField(allow_blank=True)
    layers = QualityLayerOutput(many=True)
    device = serializers.CharField(allow_blank=True)
    duration_s = serializers.FloatField()
    peak_memory_bytes = serializers.IntegerField()
