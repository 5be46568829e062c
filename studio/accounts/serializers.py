"""The shapes of people, tokens and links at the API."""

from rest_framework import serializers

from studio.accounts.models import MOST_USERNAME, Role
from studio.accounts.services import MOST_DAYS, SCOPES


class MeCan(serializers.Serializer):
    grant_points = serializers.BooleanField()
    administer = serializers.BooleanField()


class MeOnboarding(serializers.Serializer):
    has_dataset = serializers.BooleanField()
    has_job = serializers.BooleanField()
    has_adapter = serializers.BooleanField()
    has_conversation = serializers.BooleanField()


class PersonOutput(serializers.Serializer):
    id = serializers.IntegerField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    email = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(Role.choices)
    language = serializers.ChoiceField(["zh", "en"], allow_blank=True)
    theme = serializers.ChoiceField(["light", "dark"], allow_blank=True)
    date_joined = serializers.DateTimeField()


class MeOutput(PersonOutput):
    has_password = serializers.BooleanField()
    can = MeCan()
    onboarding = MeOnboarding()


class MeInput(serializers.Serializer):
    display_name = serializers.CharField(max_length=80, allow_blank=True, required=False)
    email = serializers.EmailField(max_length=254, allow_blank=True, required=False)
    language = serializers.ChoiceField(["zh", "en"], allow_blank=True, required=False)
    theme = serializers.ChoiceField(["light", "dark"], allow_blank=True, required=False)


class PasswordInput(serializers.Serializer):
    current_password = serializers.CharField(
        max_length=1000,
        allow_blank=True,
        required=False,
        trim_whitespace=False,
        help_text="Where the person has one already.",
    )
    new_password = serializers.CharField(max_length=1000, trim_whitespace=False)


class TokenOutput(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES))
    prefix = serializers.CharField(help_text="Its first letters, to know it by.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class TokenCreatedOutput(TokenOutput):
    token = serializers.CharField(help_text="The token itself; it is shown only here.")


class TokenCreateInput(serializers.Serializer):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES), allow_empty=False)
    expires_in_days = serializers.IntegerField(
        min_value=1, max_value=MOST_DAYS, allow_null=True, default=None
    )


class UserOutput(serializers.Serializer):
    id = serializers.IntegerField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    email = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(Role.choices)
    is_active = serializers.BooleanField()
    date_joined = serializers.DateTimeField()
    last_login = serializers.DateTimeField(allow_null=True)
    available_mpoints = serializers.IntegerField()
    held_mpoints = serializers.IntegerField()


class UserCreateInput(serializers.Serializer):
    username = serializers.CharField(max_length=MOST_USERNAME)
    display_name = serializers.CharField(max_length=80, allow_blank=True, default="")
    email = serializers.EmailField(max_length=254, allow_blank=True, default="")
    role = serializers.ChoiceField(Role.choices, default=Role.MEMBER)


class UserInput(serializers.Serializer):
    display_name = serializers.CharField(max_length=80, allow_blank=True, required=False)
    role = serializers.ChoiceField(Role.choices, required=False)
    is_active = serializers.BooleanField(required=False)


class SigninLinkOutput(serializers.Serializer):
    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


class TokenPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = TokenOutput(many=True)


class UserPageOutput(serializers.Serializer):
    count = serializers.IntegerField()
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    results = UserOutput(many=True)


class SshKeyGenerateInput(serializers.Serializer):
    name = serializers.CharField(max_length=80, allow_blank=True, default="")


class SshKeyInput(SshKeyGenerateInput):
    public_key = serializers.CharField(max_length=100_000)


class SshKeyOutput(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    type = serializers.CharField()
    fingerprint = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)


class SshKeyMadeOutput(SshKeyOutput):
    private_key = serializers.CharField(help_text="Told this once and kept nowhere.")
