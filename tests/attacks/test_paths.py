"""Hostile paths and kinds of files: each attack is refused by name."""

import io

import pytest

from hub.adapter_format import MAX_WEIGHTS_BYTES, check_kind, check_path, check_paths, check_text
from hub.errors import HubError


def code_of(check, *arguments, **more):
    with pytest.raises(HubError) as caught:
        check(*arguments, **more)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    return caught.value.code


ORDINARY = ["README.md", "adapter_config.json", ".gitattributes", "images/loss curve.png", "checkpoint-500/adapter_model.safetensors", "caf\u00e9.md"]
ODD_BUT_SOUND = ["100%.txt", "\u6a21\u578b/\u8bf4\u660e.md", "a..b.md", "console.txt", "com10.txt", "a/b/c/d/e/f/g/h/i/j.md", "x" * 200]


@pytest.mark.parametrize("path", ORDINARY + ODD_BUT_SOUND)
def test_ordinary_paths_pass_as_they_are(path):
    assert check_path(path) == path


ATTACKS = {
    "empty": "",
    "blank": "   ",
    "parent": "../README.md",
    "parent in the middle": "a/../../b.md",
    "parent at the end": "a/..",
    "here": "./README.md",
    "here in the middle": "a/./b.md",
    "absolute": "/etc/passwd",
    "absolute on Windows": "C:\\Windows\\a.md",
    "drive": "C:a.md",
    "network share": "\\\\server\\share\\a.md",
    "backslash": "a\\..\\b.md",
    "alternate stream": "README.md:hidden",
    "home": "~/.ssh/config.txt",
    "empty part": "a//b.md",
    "trailing slash": "a/",
    "NUL": "README.md\0.png",
    "newline": "a\nb.md",
    "escape sequence": "\x1b[31m.md",
    "delete": "a\x7f.md",
    "C1 control": "a\x85.md",
    "line separator": "a\u2028b.md",
    "right to left": "a\u202egnp.md",
    "isolate": "a\u2066b.md",
    "zero width space": "a\u200bb.md",
    "zero width joiner in .git": ".g\u200dit/config.txt",
    "byte order mark": "\ufeffREADME.md",
    "soft hyphen": "RE\u00adADME.md",
    "no-break space": "a\u00a0b.md",
    "private use": "a\ue000.md",
    "unassigned": "a\u0378.md",
    "half a character": "a\ud800.md",
    "not composed": "cafe\u0301.md",
    "leading space": " README.md",
    "trailing space": "README.md ",
    "space in front of a folder": "a/ b/c.md",
    "trailing dot": "README.md.",
    "three dots": ".../a.md",
    "git folder": ".git/config.txt",
    "git folder in capitals": "a/.GIT/config.txt",
    "git folder, short name": "GIT~1/config.txt",
    "encoded parent": "%2e%2e/a.md",
    "encoded slash": "..%2Fa.md",
    "question mark": "a?.md",
    "star": "*.md",
    "quote": 'a".md',
    "markup": "<b>.md",
    "pipe": "a|b.md",
    "too long": "x" * 201,
    "too long for a file system": "\u6a21" * 100 + ".md",
    "too deep": "a/" * 10 + "b.md",
}


@pytest.mark.parametrize("path", ATTACKS.values(), ids=ATTACKS.keys())
def test_paths_that_lead_astray(path):
    assert code_of(check_path, path) == "path-invalid"
    assert code_of(check_paths, ["README.md", path]) == "path-invalid"


@pytest.mark.parametrize("name", ["con", "CON", "nul.txt", "Aux.tar.md", "prn .md", "com1", "LPT9.json", "com\u00b9.md", "lpt0", "CONIN$", "conout$.md"])
def test_reserved_names_of_windows(name):
    assert code_of(check_path, name) == "path-invalid"
    assert code_of(check_path, f"{name}/README.md") == "path-invalid"


def test_different_files_pass_together():
    check_paths(["README.md", "a/README.md", "ab", "a.b/c", "a-b"])


@pytest.mark.parametrize("paths", [["a.md", "a.md"], ["README.md", "readme.MD"], ["stra\u00dfe.md", "STRASSE.md"], ["A/b.md", "a/B.md"]])
def test_duplicate_paths(paths):
    assert code_of(check_paths, paths) == "path-duplicate"


@pytest.mark.parametrize("paths", [["a", "a/b.md"], ["a/b.md", "A"], ["x/y/z.md", "x/y"], ["x/y/z.md", "x"]])
def test_a_file_that_is_a_folder_too(paths):
    assert code_of(check_paths, paths) == "path-conflict"


def test_too_many_files():
    check_paths(f"{number}.md" for number in range(200))
    assert code_of(check_paths, (f"{number}.md" for number in range(201))) == "too-many-files"


def test_endless_paths_are_not_read_to_the_end():
    def forever():
        number = 0
        while True:
            number += 1
            yield f"{number}.md"

    assert code_of(check_paths, forever()) == "too-many-files"


PICKLES = ["adapter_model.bin", "a.pt", "a.pth", "a.pkl", "a.pickle", "a.ckpt", "a.joblib", "a.npy", "a.npz", "training_args.BIN", "x/optimizer.pt"]


@pytest.mark.parametrize("path", PICKLES)
def test_pickles_are_refused_with_the_way_out(path):
    with pytest.raises(HubError) as caught:
        check_kind(path, 10)
    assert caught.value.code == "file-type-refused"
    assert "save_pretrained" in caught.value.message


@pytest.mark.parametrize(
    "path", ["a.zip", "a.tar.gz", "a.7z", "a.whl", "a.exe", "a.so", "a.py", "a.sh", "a.ipynb", "a.js", "a.html", "a.svg", "a.SVG", "README.md.exe"]
)
def test_archives_programs_and_pages_are_refused(path):
    assert code_of(check_kind, path, 10) == "file-type-refused"


@pytest.mark.parametrize(
    "path", ["a.gguf", "a.h5", "a.onnx", "a.pdf", "a.mp4", "noextension", ".env", "id_rsa", "safetensors", ".safetensors", "a.safetensors.bak", "x.model"]
)
def test_other_kinds_are_refused(path):
    assert code_of(check_kind, path, 10) == "file-type-refused"


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("adapter_model.safetensors", 2 * 2**30),
        ("README.md", 10_000_000),
        ("LICENSE", 10_000_000),
        ("sub/NOTICE", 10_000_000),
        (".gitattributes", 10_000_000),
        ("chat_template.jinja", 10_000_000),
        ("data.JSONL", 10_000_000),
        ("tokenizer.json", 40_000_000),
        ("tokenizer.model", 40_000_000),
        ("loss.png", 5_000_000),
        ("a.webp", 5_000_000),
    ],
)
def test_sizes_up_to_the_limit_pass_and_no_byte_more(path, limit):
    check_kind(path, 0)
    check_kind(path, limit)
    with pytest.raises(HubError) as caught:
        check_kind(path, limit + 1)
    assert (caught.value.code, caught.value.status) == ("file-too-large", 413)


def test_the_limit_of_weights_can_be_set():
    assert MAX_WEIGHTS_BYTES == 2 * 2**30
    check_kind("a.safetensors", 100, max_weights_bytes=100)
    assert code_of(check_kind, "a.safetensors", 101, max_weights_bytes=100) == "file-too-large"


@pytest.mark.parametrize("content", [b"", b"plain", "\ufeffcaf\u00e9 \u6a21\u578b".encode(), "\u6a21".encode() * 800_000])
def test_text_passes(content):
    check_text("README.md", io.BytesIO(content))


TEXT_ATTACKS = {
    "NUL": b"a\0b",
    "NUL far behind": b"a" * 3_000_000 + b"\0",
    "Latin-1": b"caf\xe9",
    "UTF-16": "text".encode("utf-16"),
    "half a character at the end": "caf\u00e9".encode()[:-1],
    "surrogate": b"\xed\xa0\x80",
    "overlong slash": b"\xc0\xaf",
    "pickle": b"\x80\x04\x95" + bytes(50),
    "program": b"\x7fELF\x02\x01\x01" + bytes(50),
    "archive": b"PK\x03\x04" + bytes(50),
}


@pytest.mark.parametrize("content", TEXT_ATTACKS.values(), ids=TEXT_ATTACKS.keys())
@pytest.mark.parametrize("path", ["README.md", "sub/recipe.JSON", "LICENSE"])
def test_binary_under_the_name_of_a_text(path, content):
    assert code_of(check_text, path, io.BytesIO(content)) == "text-invalid"


@pytest.mark.parametrize(("content", "kind"), [(b"\x80\x04\x95" + bytes(50), "pickle"), (b"PK\x03\x04" + bytes(50), "zip"), (b"\x7fELF" + bytes(9), "program")])
def test_the_refusal_names_what_the_file_really_is(content, kind):
    with pytest.raises(HubError, match=kind):
        check_text("data.json", io.BytesIO(content))


def test_other_kinds_are_not_read_as_text():
    check_text("loss.png", io.BytesIO(b"\x89PNG\r\n\x1a\n\0"))
    check_text("adapter_model.safetensors", io.BytesIO(b"\0"))
