"""Says which paths and kinds of files a revision may hold. The content of weights is the business of hub.adapter_format."""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from typing import BinaryIO

from hub.errors import HubError
from hub.safetensors_header import sniff
from hub.strict_json import shown

MAX_PATH = 200
MAX_PART_BYTES = 255  # of one file or folder name, on every common file system
MAX_LEVELS = 10
MAX_FILES = 200

MAX_WEIGHTS_BYTES = 2 * 2**30
MAX_TEXT_BYTES = 10_000_000
MAX_IMAGE_BYTES = 5_000_000
MAX_TOKENIZER_BYTES = 40_000_000  # the tokenizers of models with 250,000 tokens need about 35 MB

WEIGHTS = ".safetensors"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TEXTS = frozenset((".md", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".jinja", ".cff"))
IMAGES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif"))
TEXT_NAMES = frozenset((".gitattributes", ".gitignore", ".gitkeep", "license", "licence", "notice", "copying", "authors", "readme"))
MODEL_TOKENIZERS = frozenset((".model", ".tiktoken", ".bpe", ".vocab", ".spm"))  # beside base models, under any name
TOKENIZERS = frozenset(("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"))
PICKLES = frozenset((".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz"))
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".whl", ".jar", ".nemo", ".mar"))
PROGRAMS = frozenset((".py", ".ipynb", ".js", ".sh", ".bat", ".cmd", ".ps1", ".exe", ".dll", ".so", ".dylib", ".msi", ".com", ".scr", ".html", ".htm", ".svg"))
OTHER_WEIGHTS = frozenset((".gguf", ".ggml", ".h5", ".keras", ".onnx", ".msgpack", ".pb", ".tflite"))

# What training programs leave beside an adapter for themselves: pickles that nobody loads, and logs.
_BYPRODUCT = re.compile(r"training_args\.bin|optimizer\.(?:bin|pt)|scheduler\.pt|scaler\.pt|rng_state(?:_\d+)?\.pth|events\.out\.tfevents\..+")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*(\..*)?", re.IGNORECASE)
_NOT_ON_WINDOWS = frozenset('<>:"|?*')
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CHUNK = 2**20


def check_path(path: str) -> str:
    """The path as it is, or HubError "path-invalid"."""
    fault = _path_fault(path)
    if fault:
        raise HubError("path-invalid", f'The path "{shown(path)}" cannot be used: {fault}.', fields={"paths": f"{fault[0].upper()}{fault[1:]}."})
    return path


def check_paths(paths: Iterable[str]) -> None:
    """Check each path, and that together they can be one folder on any computer."""
    files: dict[str, str] = {}
    for path in paths:
        key = check_path(path).casefold()
        if key in files:
            raise HubError("path-duplicate", f'The paths "{shown(files[key])}" and "{shown(path)}" name the same file. Send it once.')
        files[key] = path
        if len(files) > MAX_FILES:
            raise HubError("too-many-files", f"A revision holds at most {MAX_FILES} files. Leave out checkpoints and caches.")
    for key, path in files.items():
        parts = key.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder in files:
                raise HubError("path-conflict", f'"{shown(files[folder])}" is both a file and the folder of "{shown(path)}". Rename one of them.')


def check_kind(path: str, size: int, *, max_weights_bytes: int = MAX_WEIGHTS_BYTES, max_model_bytes: int = 0) -> None:
    """Raise "file-type-refused" or "file-too-large" (413) by the name and size of a file alone. `max_model_bytes` is 0 for those who host no base models."""
    limit = _limit(path, max_weights_bytes, max_model_bytes)
    if size > limit:
        message = f"{shown(path)} has {size / 1e6:,.1f} MB, and files of this kind may have at most {limit / 1e6:,.0f} MB."
        raise HubError("file-too-large", message, status=413)


def check_text(path: str, stream: BinaryIO) -> None:
    """Raise "text-invalid" where a text file is not UTF-8 or holds NUL, or a tokenizer is something else by its first bytes; other kinds pass unread."""
    if _name_and_suffix(path)[1] in MODEL_TOKENIZERS and (kind := sniff(stream.read(32))):
        raise HubError("file-type-refused", f"{shown(path)} is refused: its content is {kind}, not a tokenizer.")
    if not is_text(path):
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    kind = ""
    try:
        first = True
        while chunk := stream.read(_CHUNK):
            kind = kind or (sniff(chunk[:32]) if first else "")
            first = False
            decoder.decode(chunk)
            if b"\0" in chunk:
                raise _text_fault(path, kind, "it holds NUL bytes")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise _text_fault(path, kind, "it is not UTF-8") from None


def is_byproduct(path: str) -> bool:
    """Say whether a training program wrote this file for itself, beside what it made."""
    return _BYPRODUCT.fullmatch(path.rpartition("/")[2]) is not None


def is_text(path: str) -> bool:
    name, suffix = _name_and_suffix(path)
    return suffix in TEXTS or name in TEXT_NAMES


def is_read(path: str) -> bool:
    """Say whether `check_text` looks into files of this name."""
    return is_text(path) or _name_and_suffix(path)[1] in MODEL_TOKENIZERS


def _text_fault(path: str, kind: str, fault: str) -> HubError:
    why = f"its content is {kind}" if kind else fault
    return HubError("text-invalid", f"{shown(path)} is not a text file: {why}. Save it as UTF-8 text.")


def _name_and_suffix(path: str) -> tuple[str, str]:
    name = path.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    return name, dot + suffix if stem else ""


def _limit(path: str, max_weights_bytes: int, max_model_bytes: int) -> int:
    name, suffix = _name_and_suffix(path)
    if suffix == WEIGHTS:
        return max(max_weights_bytes, max_model_bytes) if name != ADAPTER_WEIGHTS else max_weights_bytes
    if name in TOKENIZERS or (max_model_bytes and suffix in MODEL_TOKENIZERS):
        return MAX_TOKENIZER_BYTES
    if suffix in TEXTS or name in TEXT_NAMES:
        return MAX_TOKENIZER_BYTES if max_model_bytes else MAX_TEXT_BYTES
    if suffix in IMAGES:
        return MAX_IMAGE_BYTES
    raise HubError("file-type-refused", f"{shown(path)} is refused: {_kind_fault(suffix)}")


def _kind_fault(suffix: str) -> str:
    if suffix in PICKLES:
        return (
            "files of this kind can be Python pickles, which run code when they are opened. Weights must be safetensors: "
            "load the adapter with PEFT and save it again with model.save_pretrained(folder), which writes adapter_model.safetensors."
        )
    if suffix in ARCHIVES:
        return "archives are not unpacked. Send the files one by one."
    if suffix in PROGRAMS:
        return "programs, scripts and pages that can run code are not hosted."
    if suffix in OTHER_WEIGHTS:
        return "weights must be safetensors, as PEFT's model.save_pretrained(folder) writes them."
    return f"an adapter holds safetensors weights, text ({', '.join(sorted(TEXTS))}) and images ({', '.join(sorted(IMAGES))})."


def _path_fault(path: str) -> str:
    if not path or not path.strip():
        return "it is empty"
    if len(path) > MAX_PATH:
        return f"it has more than {MAX_PATH} characters"
    if path.startswith("/"):
        return "it is absolute; give the path inside the adapter, for example adapter_config.json"
    if "\\" in path:
        return "it holds a backslash; separate folders with /"
    if any(unicodedata.category(character)[0] == "C" or (character.isspace() and character != " ") for character in path):
        return "it holds control, invisible or unassigned characters"
    if not unicodedata.is_normalized("NFC", path):
        return "its accents are not in the composed form (Unicode NFC); rename the file"
    if not _NOT_ON_WINDOWS.isdisjoint(path):
        return 'it holds one of < > : " | ? *, which not every computer can store'
    if _ESCAPE.search(path):
        return "it holds a % escape; give the plain characters"
    parts = path.split("/")
    if len(parts) > MAX_LEVELS:
        return f"it has more than {MAX_LEVELS} levels"
    return next((fault for fault in map(_part_fault, parts) if fault), "")


def _part_fault(part: str) -> str:
    if not part:
        return "it has an empty part; write one / between names and none at the end"
    if part in (".", ".."):
        return 'the parts "." and ".." are not allowed'
    if part != part.strip():
        return "a name in it begins or ends with a space"
    if part.endswith("."):
        return "a name in it ends with a dot"
    if part.startswith("~"):
        return "a name in it begins with ~"
    if part.lower() in (".git", "git~1"):
        return "the folder .git is not taken; send the files alone"
    if _RESERVED.fullmatch(part):
        return f'the name "{part}" is reserved on Windows'
    if len(part.encode("utf-8")) > MAX_PART_BYTES:
        return f"a name in it has more than {MAX_PART_BYTES} bytes"
    return ""
