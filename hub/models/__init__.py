"""Tables: single-row facts as methods on the rows, listings on the querysets; what changes them lives in `hub.services`."""

from hub.models.accounts import AccessToken, FormerAccountName, Invitation, Membership, Role, User
from hub.models.adapters import AccessRequest, Adapter, BaseModel, Blob, Parent, Revision, RevisionFile, Tag, Transfer
from hub.models.collections import Collection, CollectionItem
from hub.models.comments import Comment
from hub.models.events import Event
from hub.models.imports import Import
from hub.models.jobs import Composition, Evaluation, Ingredient, LogLine
from hub.models.notifications import Notification, NotificationWish
from hub.models.profiles import Neighbour, Profile
from hub.models.quotas import Holding, Usage
from hub.models.refs import FormerName, Ref
from hub.models.reports import Report, Takedown
from hub.models.search import Facet, SearchText
from hub.models.social import Download, Like
from hub.models.uploads import DirectUpload, Upload
from hub.models.upstream import Pending, Upstream
from hub.models.workers import Worker, WorkerToken
from hub.models.xet import ChunkIndex

__all__ = [
    "AccessRequest",
    "AccessToken",
    "Adapter",
    "BaseModel",
    "Blob",
    "ChunkIndex",
    "Collection",
    "CollectionItem",
    "Comment",
    "Composition",
    "DirectUpload",
    "Download",
    "Evaluation",
    "Event",
    "Facet",
    "FormerAccountName",
    "FormerName",
    "Holding",
    "Import",
    "Ingredient",
    "Invitation",
    "Like",
    "LogLine",
    "Membership",
    "Neighbour",
    "Notification",
    "NotificationWish",
    "Parent",
    "Pending",
    "Profile",
    "Ref",
    "Report",
    "Revision",
    "RevisionFile",
    "Role",
    "SearchText",
    "Tag",
    "Takedown",
    "Transfer",
    "Upload",
    "Upstream",
    "Usage",
    "User",
    "Worker",
    "WorkerToken",
]
