"""Downloads an adapter from a hub that HF_ENDPOINT does not name, and reads it by its path."""

import json
import sys

from huggingface_hub import snapshot_download
from peft import PeftConfig

print(json.dumps({"r": PeftConfig.from_pretrained(snapshot_download(sys.argv[2], endpoint=sys.argv[1])).r}))
