"""Uploads files to owner/chunked by hf_xet alone, and prints their sha256 as the client computed them: xet_upload.py PATH..."""

import json
import os
import sys

import hf_xet

with hf_xet.XetSession().new_upload_commit(
    token_refresh_url=f"{os.environ['HF_ENDPOINT']}/api/models/owner/chunked/xet-write-token/main",
    token_refresh_headers={"authorization": f"Bearer {os.environ['HF_TOKEN']}"},
    custom_headers={},
) as upload:
    handles = [upload.start_upload_file(path, sha256=hf_xet.COMPUTE_SHA256) for path in sys.argv[1:]]
print(json.dumps([handle.result().xet_info.sha256 for handle in handles]))
