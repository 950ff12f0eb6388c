"""One round trip with whatever client this Python has: make, upload, read, change, delete. Prints what it found as JSON; it knows nothing of Medley."""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import huggingface_hub
import numpy as np
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, ModelCard, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors.numpy import save

source, repo = Path(sys.argv[1]), sys.argv[2]
api = HfApi()
found: dict[str, object] = {"version": huggingface_hub.__version__, "name": api.whoami()["name"]}


def sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file() and ".cache" not in p.parts
    }


def raised(*errors: type[Exception]) -> object:
    """Which error a call raises, as a decorator for the call."""

    def run(call: object) -> str:
        try:
            call()
        except errors as error:
            return type(error).__name__
        return "nothing"

    return run


with tempfile.TemporaryDirectory() as scratch:
    url = api.create_repo(repo, exist_ok=True)
    found["url"] = [url.repo_id, api.create_repo(repo, exist_ok=True).repo_id]
    first = api.upload_folder(repo_id=repo, folder_path=source, commit_message="Upload").oid
    found["same again"] = api.upload_folder(repo_id=repo, folder_path=source).oid == first
    found["pulled"] = sums(Path(snapshot_download(repo, local_dir=f"{scratch}/out"))) == sums(source)
    found["by tag"] = [api.create_tag(repo, tag="v1"), Path(snapshot_download(repo, revision="v1")).name == first][1]

    values = np.random.default_rng(0).standard_normal(2_000_000, dtype=np.float32)
    kinds = {
        "bf16-like": save({"w": values.view(np.uint16)}),
        "f16": save({"w": values.astype(np.float16)}),
        "zeros": save({"w": np.zeros(3_000_000, np.float32)}),
    }
    operations = [CommitOperationAdd(f"more/{name}.safetensors", data) for name, data in kinds.items()]
    api.create_commit(repo, operations=[*operations, CommitOperationAdd("notes.txt", b"notes")], commit_message="More")
    found["byte-exact"] = all(Path(hf_hub_download(repo, f"more/{name}.safetensors")).read_bytes() == data for name, data in kinds.items())
    copy = [CommitOperationCopy("more/f16.safetensors", "copy.safetensors"), CommitOperationDelete("notes.txt"), CommitOperationDelete("more/", is_folder=True)]
    api.create_commit(repo, operations=copy, commit_message="Tidy up")
    found["files"] = sorted(api.list_repo_files(repo))
    found["tree"] = sorted(e.path for e in api.list_repo_tree(repo, recursive=True))
    found["info"] = [api.model_info(repo).pipeline_tag, bool(api.model_info(repo, files_metadata=True).siblings[0].size)]
    found["listed"] = [m.id for m in api.list_models(author=repo.split("/")[0], filter=["peft", "license:mit"], search=repo.split("/")[1])]
    found["card"] = ModelCard.load(repo).data.license
    api.create_branch(repo, branch="dev")
    api.upload_file(repo_id=repo, path_in_repo="dev.txt", path_or_fileobj=b"dev", revision="dev")
    found["branch"] = [api.file_exists(repo, "dev.txt", revision="dev"), api.file_exists(repo, "dev.txt")]
    found["refs"] = [[b.name for b in api.list_repo_refs(repo).branches], [t.name for t in api.list_repo_refs(repo).tags]]
    found["commits"] = [c.title for c in api.list_repo_commits(repo)]
    found["errors"] = [
        raised(RepositoryNotFoundError)(lambda: api.model_info(f"{repo}-none")),
        raised(RevisionNotFoundError)(lambda: api.model_info(repo, revision="v9")),
        raised(EntryNotFoundError)(lambda: hf_hub_download(repo, "none.txt")),
        raised(HfHubHTTPError)(lambda: api.upload_file(repo_id=repo, path_in_repo="a.txt", path_or_fileobj=b"a", parent_commit=first)),
        raised(HfHubHTTPError)(lambda: api.upload_file(repo_id=repo, path_in_repo="a.bin", path_or_fileobj=b"a")),
    ]
    api.delete_repo(repo)
    found["gone"] = not api.repo_exists(repo)
print(json.dumps(found))
