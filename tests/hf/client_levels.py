"""What a client does above single calls; it needs HF_ENDPOINT, so it runs in a process of its own."""

import json
import sys

from huggingface_hub import HfFileSystem, ModelCard, metadata_update

repo = sys.argv[1]
fs = HfFileSystem()
found = {
    "ls": sorted(fs.ls(repo, detail=False)),
    "glob": fs.glob(f"{repo}/*.safetensors"),
    "card": ModelCard.load(repo).data.license,
}
with fs.open(f"{repo}/adapter_model.safetensors", block_size=500) as file:
    file.seek(1000)
    found["range"] = file.read(1000).hex()
card = ModelCard("---\nlicense: apache-2.0\n---\n# Pushed\n")
card.push_to_hub(repo)
found["pushed"] = ModelCard.load(repo).data.license
metadata_update(repo, {"tags": ["digits"]})
found["updated"] = ModelCard.load(repo).data.tags
with fs.open(f"{repo}/notes.txt", "w") as file:
    file.write("written through the file system")
found["written"] = HfFileSystem(skip_instance_cache=True).read_text(f"{repo}/notes.txt")
print(json.dumps(found))
