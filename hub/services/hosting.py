"""The verbs of operators: make room for a base model under any owner's name, and host a folder. What workers see of them is in `hosted`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from hub import adapter_format, model_format
from hub.errors import HubError
from hub.models import Adapter, Revision, User
from hub.models.accounts import NAMESPACE, RESERVED_USERNAMES
from hub.models.adapters import validate_adapter_name
from hub.services import access, accounts, adapters, audit, intake
from hub.services.trees import Incoming

if TYPE_CHECKING:
    from hub.models.adapters import Actor


def create(*, actor: "Actor", repo_id: str) -> Adapter:
    """Create an empty base model under a name that is nobody's account. Operators only."""
    user = access.require_login(actor)
    if not user.is_staff:
        raise HubError("forbidden", f"Only the hub's operators host base models under names such as {repo_id[:100]}.", status=403)
    return _create(repo_id)


def host(*, repo_id: str, folder: Path, message: str = "") -> tuple[Revision, list[str]]:
    """Host a model folder, or its newer state, for the operator at the command line; the second value are the files left out."""
    with ExitStack() as opened:
        files, left_out = [], []
        owner = namespace(repo_id.partition("/")[0])
        for path in _files(folder):
            name = path.relative_to(folder).as_posix()
            if _is_refused(name, path.stat().st_size, owner):
                left_out.append(name)
            else:
                files.append(Incoming(name, opened.enter_context(path.open("rb"))))
        if not model_format.parts(file.path for file in files):
            raise HubError("base-model-incomplete", f"{folder} holds no model: it needs {model_format.CONFIG} and {model_format.WEIGHTS} beside it.")
        _refuse_missing_shards(folder)
        repository = Adapter.objects.filter(owner=owner, name__iexact=repo_id.partition("/")[2]).first() or _create(repo_id)
        return adapters.land(owner, repository, files=files, message=message), left_out


def namespace(name: str) -> User:
    """Return the account under whose name base models may be hosted, made if need be: an operator's own, or a namespace, which is nobody's."""
    found = accounts.named(name).first() or accounts.formerly(name).first()
    if found is not None:
        if found.is_namespace or found.is_staff:
            return found
        raise HubError(
            "namespace-taken", f"{found.username} is somebody's account. Host base models under an operator's name, or one without account.", status=403
        )
    if not NAMESPACE.fullmatch(name) or name.lower() in RESERVED_USERNAMES:
        raise HubError("namespace-invalid", f"{name[:60]!r} cannot own base models: 1 to 39 letters, digits, - and _ can, unless a page has the name.")
    try:
        with transaction.atomic():
            made = User(username=name, is_namespace=True, is_active=False)
            made.set_unusable_password()
            made.save()
            audit.record(None, "namespace.create", made)
    except IntegrityError:
        return namespace(name)  # somebody was faster
    return made


def _create(repo_id: str) -> Adapter:
    owner_name, _, name = repo_id.partition("/")
    try:
        validate_adapter_name(name)
    except ValidationError as error:
        raise HubError("name-invalid", error.messages[0], fields={"name": error.messages[0]}) from error
    return adapters.create_for(namespace(owner_name), name=name, kind=Adapter.Kind.BASE_MODEL)


def _files(folder: Path) -> Iterator[Path]:
    """Return the files of a folder; hidden ones, such as a download's bookkeeping, are none of the model."""
    if not folder.is_dir():
        raise HubError("base-model-incomplete", f"{folder} is no folder.")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _is_refused(name: str, size: int, owner: User) -> bool:
    """Say whether a file stays out: pickles, scripts, other formats. One that is only too large is an error, because a model without it would be broken."""
    try:
        adapter_format.check_path(name)
        intake.check_kind(name, size, owner)
    except HubError as error:
        if error.code == "file-type-refused":
            return True
        raise
    return False


def _refuse_missing_shards(folder: Path) -> None:
    index = folder / model_format.INDEX
    missing = [name for name in model_format.shards(index.read_bytes()) if not (folder / name).is_file()] if index.is_file() else []
    if missing:
        raise HubError("base-model-incomplete", f"{folder} lacks {', '.join(missing[:5])}, which {model_format.INDEX} names.")
