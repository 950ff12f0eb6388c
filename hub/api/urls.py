"""Every address below /api/v1/."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from hub.api import adapters, belongings, catalogue, collections, comments, commits, compositions, docs, files, notifications, organizations, reports
from hub.api.base import NoSuchAddress

urlpatterns = [
    path("me", catalogue.WhoAmI.as_view(), name="api-me"),
    path("base-models", catalogue.BaseModels.as_view(), name="api-base-models"),
    path("methods", catalogue.Methods.as_view(), name="api-methods"),
    path("adapters", adapters.Listing.as_view(), name="api-adapters"),
    path("adapters/<str:owner>/<str:name>", adapters.Detail.as_view(), name="api-adapter"),
    path("adapters/<str:owner>/<str:name>/commits", commits.Commits.as_view(), name="api-commits"),
    path("adapters/<str:owner>/<str:name>/revisions", adapters.Revisions.as_view(), name="api-revisions"),
    path("adapters/<str:owner>/<str:name>/files/<path:path>", files.Content.as_view(), name="api-file"),
    path("adapters/<str:owner>/<str:name>/transfer", belongings.Handing.as_view(), name="api-transfer"),
    path("adapters/<str:owner>/<str:name>/log", belongings.AdapterLog.as_view(), name="api-adapter-log"),
    path("organizations", organizations.Listing.as_view(), name="api-organizations"),
    path("organizations/<str:organization>", organizations.Detail.as_view(), name="api-organization"),
    path("organizations/<str:organization>/members", organizations.Members.as_view(), name="api-members"),
    path("organizations/<str:organization>/members/<str:user>", organizations.Member.as_view(), name="api-member"),
    path("organizations/<str:organization>/invitations", organizations.Invitations.as_view(), name="api-invitations"),
    path("organizations/<str:organization>/invitations/<str:user>", organizations.Invitation.as_view(), name="api-invitation"),
    path("organizations/<str:organization>/log", organizations.Log.as_view(), name="api-organization-log"),
    path("me/invitations", belongings.Invitations.as_view(), name="api-my-invitations"),
    path("me/invitations/<str:organization>", belongings.Invitation.as_view(), name="api-my-invitation"),
    path("me/offers", belongings.Offers.as_view(), name="api-my-offers"),
    path("me/offers/<str:account>/<str:name>", belongings.Offer.as_view(), name="api-my-offer"),
    path("me/deleted", belongings.DeletedListing.as_view(), name="api-deleted"),
    path("me/deleted/<str:account>/<str:name>", belongings.Deleted.as_view(), name="api-deleted-one"),
    path("me/log", belongings.MyLog.as_view(), name="api-my-log"),
    path("adapters/<str:owner>/<str:name>/like", adapters.Likes.as_view(), name="api-like"),
    path("adapters/<str:owner>/<str:name>/comments", comments.Listing.as_view(), name="api-comments"),
    path("adapters/<str:owner>/<str:name>/comments/<int:number>", comments.Detail.as_view(), name="api-comment"),
    path("adapters/<str:owner>/<str:name>/reports", reports.OfAdapter.as_view(), name="api-adapter-reports"),
    path("adapters/<str:owner>/<str:name>/comments/<int:number>/reports", reports.OfComment.as_view(), name="api-comment-reports"),
    path("compositions", compositions.Listing.as_view(), name="api-compositions"),
    path("compositions/<int:job_id>", compositions.Detail.as_view(), name="api-composition"),
    path("compositions/<int:job_id>/cancel", compositions.Cancel.as_view(), name="api-composition-cancel"),
    path("compositions/<int:job_id>/finish", compositions.Finish.as_view(), name="api-composition-finish"),
    path("collections", collections.Listing.as_view(), name="api-collections"),
    path("collections/<int:collection_id>", collections.Detail.as_view(), name="api-collection"),
    path("collections/<int:collection_id>/items", collections.Items.as_view(), name="api-collection-items"),
    path("collections/<int:collection_id>/items/<int:item_id>", collections.Item.as_view(), name="api-collection-item"),
    path("notifications", notifications.Listing.as_view(), name="api-notifications"),
    path("notifications/read", notifications.ReadAll.as_view(), name="api-notifications-read"),
    path("notifications/<int:notification_id>/read", notifications.Read.as_view(), name="api-notification-read"),
    path("schema", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs", docs.page, name="api-docs"),
    re_path(r"^.*$", NoSuchAddress.as_view(), name="api-no-such-address"),
]
