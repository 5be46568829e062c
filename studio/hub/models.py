"""Repos of models and datasets, their commits and files. The bytes lie in `studio.hub.storage`."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class Kind(models.TextChoices):
    """What a repo holds."""

    MODEL = "model"
    DATASET = "dataset"


class Role(models.TextChoices):
    """What a repo is good for; told by the files of its head."""

    BASE = "base"
    ADAPTER = "adapter"
    DATASET = "dataset"


class Visibility(models.TextChoices):
    """Who may see a repo: everybody who is signed in, those who share a class, or its writers."""

    PUBLIC = "public"
    CLASS = "class"
    PRIVATE = "private"


class Gate(models.TextChoices):
    """Whether a repo's files are for who has asked: at once, or when its owner says yes."""

    NONE = ""
    AUTO = "auto"
    MANUAL = "manual"


class RefKind(models.TextChoices):
    """A branch moves with commits, a tag stays."""

    BRANCH = "branch"
    TAG = "tag"


class Blob(models.Model):
    """Some bytes, stored once however many files hold them."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    git_oid = models.CharField(max_length=40)
    """SHA-1 as git counts it for a blob: what Hugging Face clients compare."""
    size_bytes = models.PositiveBigIntegerField()
    stored_at = models.DateTimeField(default=timezone.now)
    """When somebody last asked to store it; a sweep spares what is recent."""
    xet = models.ForeignKey(
        "XetFile", on_delete=models.PROTECT, null=True, blank=True, related_name="blobs"
    )
    """The chunks it is made of; None of a small file, which lies whole."""

    def __str__(self) -> str:
        return self.sha256[:12]

    @property
    def etag(self) -> str:
        """Return what clients compare: SHA-256 of a large file, git's id of a small one."""
        return self.sha256 if self.xet_id else self.git_oid


class BlobClaim(models.Model):
    """Somebody has sent these bytes, so they may commit them; to know a hash is not enough."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="claims")
    claimed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """Once is enough."""

        constraints = [models.UniqueConstraint(fields=["user", "blob"], name="blob_claim_once")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.blob_id[:12]}"


class Repo(models.Model):
    """A named line of commits. What the head says of itself is kept here to list and search by."""

    kind = models.CharField(max_length=8, choices=Kind.choices)
    namespace = models.CharField(max_length=96)
    name = models.CharField(max_length=96)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="repos"
    )
    """Who made it; of an organization's repo, no more than that."""
    organization = models.ForeignKey(
        "accounts.Organization",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="repos",
    )
    """Whose namespace it is in; None of a person's own."""
    visibility = models.CharField(
        max_length=8, choices=Visibility.choices, default=Visibility.PRIVATE
    )
    gate = models.CharField(max_length=8, choices=Gate.choices, default=Gate.NONE, blank=True)
    summary = models.CharField(max_length=300, blank=True)
    """The owner's own line."""
    card_summary = models.CharField(max_length=300, blank=True)
    """The first sentence of the head's card, shown where the owner wrote none."""
    role = models.CharField(max_length=8, choices=Role.choices)
    license = models.CharField(max_length=60, blank=True)
    base_model = models.CharField(max_length=200, blank=True)
    """Of an adapter: repo id of its base."""
    base_revision = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    num_rows = models.PositiveBigIntegerField(null=True, blank=True)
    head = models.ForeignKey(
        "Commit", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    """Newest commit of `main`; None while the repo is empty. Other branches are refs."""
    downloads = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """A name is taken whatever its capitals."""

        constraints = [
            models.UniqueConstraint(
                "kind", Lower("namespace"), Lower("name"), name="repo_name_once"
            )
        ]
        indexes = [models.Index(fields=["kind", "-updated_at"], name="repo_newest")]

    def __str__(self) -> str:
        return self.repo_id

    @property
    def repo_id(self) -> str:
        """Return `namespace/name`."""
        return f"{self.namespace}/{self.name}"


class Commit(models.Model):
    """One state of all files of a repo."""

    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="commits")
    sha = models.CharField(max_length=40)
    parent = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    message = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)
    model_facts = models.JSONField(null=True, blank=True)
    """The model's shape and weights, once somebody asked; see `studio.hub.model_facts`."""

    class Meta:
        """Found by repo and sha, or the beginning of a sha."""

        constraints = [models.UniqueConstraint(fields=["repo", "sha"], name="commit_sha_once")]

    def __str__(self) -> str:
        return self.sha[:12]


class CommitFile(models.Model):
    """A file of a commit."""

    commit = models.ForeignKey(Commit, on_delete=models.CASCADE, related_name="files")
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="files")

    class Meta:
        """A path is there once."""

        constraints = [models.UniqueConstraint(fields=["commit", "path"], name="commit_path_once")]

    def __str__(self) -> str:
        return self.path


class Ref(models.Model):
    """A branch beside `main`, or a tag."""

    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="refs")
    kind = models.CharField(max_length=8, choices=RefKind.choices)
    name = models.CharField(max_length=100)
    commit = models.ForeignKey(Commit, on_delete=models.CASCADE, related_name="+")
    message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        """A branch and a tag of one name would be one revision to others."""

        constraints = [models.UniqueConstraint(fields=["repo", "name"], name="ref_name_once")]

    def __str__(self) -> str:
        return self.name


class AccessState(models.TextChoices):
    """What became of a wish to read a gated repo."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class AccessRequest(models.Model):
    """Somebody asked to read a gated repo's files."""

    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="access_requests")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=8, choices=AccessState.choices)
    asked_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        """One wish of a person for a repo."""

        constraints = [models.UniqueConstraint(fields=["repo", "user"], name="access_asked_once")]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.state}"


class OldName(models.Model):
    """A name that a repo had before; it leads there until somebody takes it."""

    kind = models.CharField(max_length=8, choices=Kind.choices)
    namespace = models.CharField(max_length=96)
    name = models.CharField(max_length=96)
    repo = models.ForeignKey(Repo, on_delete=models.CASCADE, related_name="old_names")

    class Meta:
        """A name leads to one repo."""

        constraints = [
            models.UniqueConstraint("kind", Lower("namespace"), Lower("name"), name="old_name_once")
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class BlobReport(models.Model):
    """What a check of a JSONL file found, and where its rows begin; made once per content."""

    blob = models.OneToOneField(
        Blob, on_delete=models.CASCADE, primary_key=True, related_name="report"
    )
    version = models.PositiveIntegerField()
    """Of the check: an older report is made anew."""
    body = models.JSONField()
    row_marks = models.BinaryField()
    """Byte offset and line number of every 64th row, as unsigned 64-bit pairs."""

    def __str__(self) -> str:
        return str(self.blob_id)


# Their tables are the hub's too.
from studio.hub.catalogue.models import CatalogueEntry, Like, RepoLabel  # noqa: E402
from studio.hub.node_share.models import SharedRepo  # noqa: E402
from studio.hub.viewer.models import BlobStatistics  # noqa: E402
from studio.hub.xet.models import AnnouncedChunk, XetFile, XetFileXorb, Xorb  # noqa: E402

__all__ = [
    "AccessRequest",
    "AccessState",
    "AnnouncedChunk",
    "Blob",
    "BlobClaim",
    "BlobReport",
    "BlobStatistics",
    "CatalogueEntry",
    "Commit",
    "CommitFile",
    "Gate",
    "Kind",
    "Like",
    "OldName",
    "Ref",
    "RefKind",
    "Repo",
    "RepoLabel",
    "Role",
    "SharedRepo",
    "Visibility",
    "XetFile",
    "XetFileXorb",
    "Xorb",
]
