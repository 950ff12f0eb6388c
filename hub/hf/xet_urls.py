"""Addresses of uploads by the Xet protocol."""

from django.urls import path, re_path

from hub.hf import xet

UPLOAD = r"^xet/(?P<key>[0-9a-f]{32})"
HASH = r"(?P<digest>[0-9a-f]{64})"

urlpatterns = [
    path("api/models/<str:owner>/<str:name>/xet-write-token/<path:revision>", xet.write_token, name="hf-xet-write-token"),
    re_path(rf"{UPLOAD}/v1/chunks/[a-z-]+/{HASH}$", xet.chunk, name="hf-xet-chunk"),
    re_path(rf"{UPLOAD}/v1/xorbs/[a-z-]+/{HASH}$", xet.xorb, name="hf-xet-xorb"),
    re_path(rf"{UPLOAD}/v1/shards$", xet.shard, name="hf-xet-shard"),
    re_path(rf"{UPLOAD}/v1/xorb-grants/[a-z-]+/{HASH}$", xet.not_offered, name="hf-xet-grant"),
    re_path(rf"{UPLOAD}/v2/shards$", xet.not_offered, name="hf-xet-shard-v2"),
    path("v1/telemetry", xet.telemetry, name="hf-xet-telemetry"),
]
