"""Addresses of the hub protocol, as Hugging Face clients build them below the root of the host."""

from django.urls import URLPattern, URLResolver, include, path, re_path, register_converter

from hub.hf import cards, collections, commits, files, gates, lfs, login, models, organizations, outside, people, repos, social, trees


class RevisionConverter:
    """One part of a path, or one of git's full names: a server sees the escaped slashes of a revision as plain ones."""

    regex = "refs/(?:heads|tags|pr|convert)/[^/]+|[^/]+"

    def to_python(self, value: str) -> str:
        """Return the revision as it was sent."""
        return value

    def to_url(self, value: str) -> str:
        """Return the revision as it goes into an address."""
        return value


register_converter(RevisionConverter, "rev")
MODEL = "api/models/<str:owner>/<str:name>"
REPO = "<str:owner>/<str:name>"

urlpatterns: list[URLPattern | URLResolver] = [
    # First, because nothing is asked for as often. No person is named as the words that other addresses begin with.
    re_path(
        rf"^(?!(?:api|datasets|spaces)/)(?P<owner>[^/]+)/(?P<name>[^/]+)/resolve/(?P<rev>{RevisionConverter.regex})/(?P<path>.+)$",
        files.resolve,
        name="hf-resolve",
    ),
    path("", include("hub.hf.xet_urls")),
    path("oauth/device", login.device, name="hf-oauth-device"),
    path("oauth/token", login.token, name="hf-oauth-token"),
    path("api/whoami-v2", people.whoami, name="hf-whoami"),
    path("api/validate-yaml", cards.validate, name="hf-validate"),
    path("api/repos/create", repos.create, name="hf-create"),
    path("api/repos/delete", repos.delete, name="hf-delete"),
    path("api/repos/move", repos.move, name="hf-move"),
    path("api/settings/repositories", social.repositories, name="hf-repositories"),
    path("api/users/<str:username>/overview", social.overview, name="hf-overview"),
    path("api/users/<str:username>/likes", social.likes, name="hf-likes"),
    path("api/organizations/<str:name>/overview", organizations.overview, name="hf-organization"),
    path("api/organizations/<str:name>/members", organizations.members, name="hf-members"),
    path("api/organizations/<str:name>/settings/repositories", organizations.repositories, name="hf-organization-repositories"),
    path("api/collections", collections.every, name="hf-collections"),
    path("api/collections/<str:owner>/<str:slug>", collections.one, name="hf-collection"),
    path("api/collections/<str:owner>/<str:slug>/items", collections.items, name="hf-collection-items"),
    path("api/collections/<str:owner>/<str:slug>/items/<str:number>", collections.item, name="hf-collection-item"),
    path("api/models", models.listing, name="hf-models"),
    path(f"{MODEL}/revision/<path:rev>", models.info, name="hf-revision"),
    path(f"{MODEL}/auth-check", models.auth_check, name="hf-auth-check"),
    path(f"{MODEL}/auth-check/<str:right>", models.auth_check, name="hf-auth-check-right"),
    path(f"{MODEL}/tree/<rev:rev>", trees.tree, name="hf-tree"),
    path(f"{MODEL}/tree/<rev:rev>/", trees.tree, name="hf-tree-root"),
    path(f"{MODEL}/tree/<rev:rev>/<path:path>", trees.tree, name="hf-tree-path"),
    path(f"{MODEL}/paths-info/<path:rev>", trees.paths_info, name="hf-paths-info"),
    path(f"{MODEL}/refs", trees.all_refs, name="hf-refs"),
    path(f"{MODEL}/commits/<path:rev>", trees.commits, name="hf-commits"),
    path(f"{MODEL}/preupload/<path:rev>", commits.preupload, name="hf-preupload"),
    path(f"{MODEL}/commit/<path:rev>", commits.commit, name="hf-commit"),
    path(f"{MODEL}/settings", repos.settings, name="hf-settings"),
    path(f"{MODEL}/branch/<path:ref>", repos.branch, name="hf-branch"),
    path(f"{MODEL}/tag/<path:ref>", repos.tag, name="hf-tag"),
    path(f"{MODEL}/like", social.like, name="hf-like"),
    path(f"{MODEL}/likers", social.likers, name="hf-likers"),
    path(f"{MODEL}/ask-access", gates.ask, name="hf-api-ask-access"),
    path(f"{MODEL}/user-access-request/handle", gates.handle, name="hf-access-handle"),
    path(f"{MODEL}/user-access-request/grant", gates.grant, name="hf-access-grant"),
    path(f"{MODEL}/user-access-request/<str:status>", gates.listing, name="hf-access-requests"),
    path(f"{MODEL}/resolve/<rev:rev>/<path:path>", files.resolve, name="hf-api-resolve"),
    path(f"{MODEL}/<path:rest>", outside.of_model, name="hf-model-rest"),
    path(MODEL, models.info, name="hf-model"),
    re_path(r"^api/models/[^/]+$", outside.other_kind, name="hf-model-without-owner"),
    re_path(r"^api/(?:datasets|spaces|kernels|buckets)/(?!zero-gpu/)[^/]+/.+$", outside.other_kind, name="hf-other-kind"),
    re_path(r"^api/(?!v1(?:/|$)).*$", outside.anything, name="hf-rest"),
    path("uploads", outside.anything, name="hf-attachments"),
    re_path(r"^papers/.+$", outside.anything, name="hf-papers"),
    path("lfs/file/<str:link>", lfs.put, name="hf-lfs-file"),
    path("lfs/part/<str:link>/<int:number>", lfs.part, name="hf-lfs-part"),
    path("lfs/complete/<str:link>", lfs.complete, name="hf-lfs-complete"),
    re_path(r"^lfs/.*$", outside.incomplete, name="hf-upload-rest"),
    re_path(r"^(?:datasets|spaces)/.+/(?:resolve|raw|info)/.+$", outside.other_kind, name="hf-other-kind-file"),
    path(f"{REPO}.git/info/lfs/objects/batch", lfs.batch, name="hf-lfs-batch"),
    path(f"{REPO}.git/info/lfs/verify", lfs.verify, name="hf-lfs-verify"),
    path(f"{REPO}.git/<path:rest>", outside.git, name="hf-git"),
    path(f"{REPO}/info/refs", outside.git, name="hf-git-refs"),
    path(f"{REPO}/ask-access", gates.ask, name="hf-ask-access"),
    path(f"{REPO}/raw/<rev:rev>/<path:path>", files.resolve, name="hf-raw"),
    re_path(r"^[^/]+/(?:resolve|raw)/.+$", outside.other_kind, name="hf-file-without-owner"),
    re_path(r"^[^/]+/[^/]+/(?:resolve|raw)/.*$", outside.incomplete, name="hf-file-rest"),
    re_path(r"^[^/]+(?:/[^/]+)?\.git(?:/.*)?$", outside.git, name="hf-git-rest"),
    path(f"{REPO}/commit/<str:rev>", outside.page, name="hf-page-commit"),
    path(f"{REPO}/tree/<rev:rev>", outside.page, name="hf-page-tree"),
    path(f"{REPO}/tree/<rev:rev>/", outside.page, name="hf-page-tree-root"),
    path(f"{REPO}/tree/<rev:rev>/<path:folder>", outside.page, name="hf-page-folder"),
    path(f"{REPO}/blob/<rev:rev>/<path:path>", outside.page, name="hf-page-file"),
]
