"""The compose page: a form that keeps everything typed, and what its script asks for."""

import functools
import operator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from compose_worker.engine import catalogue
from hub.errors import HubError
from hub.models import Adapter, BaseModel, Composition, User
from hub.models.adapters import validate_adapter_name
from hub.services import access, accounts, adapters, jobs, names, search, texts
from hub.web import examples

AUTO, PICK = "auto", "pick"
SHOWN_MODULES = 40
HOW = [(AUTO, "Find them for me"), (PICK, "I choose")]


class ComposeForm(forms.Form):
    """The parts of a composition that fit into plain fields; modules and settings are read beside it."""

    base_model = forms.CharField(max_length=200, widget=forms.Select)
    name = forms.CharField(
        max_length=96,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        validators=[validate_adapter_name],
        error_messages={"required": "Name it."},
    )
    description = forms.CharField(required=False, max_length=1000, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    text = forms.CharField(required=False, strip=False, widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}))
    file = forms.FileField(required=False, allow_empty_file=True)
    how = forms.ChoiceField(choices=HOW, initial=AUTO)
    method = forms.ChoiceField(choices=[(m.name, m.title) for m in catalogue.METHODS], initial=catalogue.DEFAULT_METHOD)
    seed = forms.IntegerField(initial=0, min_value=0, max_value=2**32 - 1, widget=forms.NumberInput(attrs={"min": 0, "max": 2**32 - 1}))
    private = forms.BooleanField(required=False)

    def __init__(self, base_models: list[BaseModel], publishers: list[User], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"] = forms.ChoiceField(required=False, choices=[(account.username, account.username) for account in publishers])
        tails = [b.name.rpartition("/")[2] for b in base_models]
        self.fields["base_model"].widget.choices = [
            (b.name, _describe(b, tail if tails.count(tail) == 1 else b.name)) for b, tail in zip(base_models, tails, strict=True)
        ]


@dataclass(frozen=True)
class Field:
    """One setting of a method, as a form field."""

    setting: catalogue.Setting
    name: str
    value: Any


@require_http_methods(["GET", "HEAD", "POST"])
def compose(request: HttpRequest) -> HttpResponse:
    """Show the form, and start what it describes."""
    user = access.require_login(request.user)
    bases = [b for b in search.base_models(actor=user) if b.adapters]
    if request.method != "POST":
        form, chosen, rows = _first(request, user, bases)
        return _page(request, form, bases, chosen, rows)
    form = ComposeForm(bases, access.publishers(user=user), request.POST, request.FILES)
    chosen = request.POST.getlist("modules")
    rows: examples.Rows = []
    problems: dict[str, str] = {}
    try:
        rows = _rows(request)
        if request.POST.get("action") == "read":
            form = ComposeForm(bases, access.publishers(user=user), initial={**request.POST.dict(), "text": examples.write(rows)})
            return _page(request, form, bases, chosen, rows)
        if form.is_valid():
            return redirect("composition-detail", _submit(request, user, form.cleaned_data, chosen, rows).pk)
        jobs.check_examples(rows, form.cleaned_data.get("method") or catalogue.DEFAULT_METHOD)
    except HubError as error:
        problems = _show(form, error)
    return _page(request, form, bases, chosen, rows, problems)


@require_safe
def modules(request: HttpRequest) -> HttpResponse:
    """Answer the module picker: what was ticked, then what matches the search."""
    user = access.require_login(request.user)
    context = _picker(user, request.GET.get("base_model", ""), request.GET.getlist("modules"), request.GET.get("find", ""))
    return render(request, "compose/_modules.html", context)


@require_POST
def rows(request: HttpRequest) -> HttpResponse:
    """Answer the table editor: the rows of a file or of pasted text."""
    access.require_login(request.user)
    file = request.FILES.get("file")
    found = examples.read_file(file.name or "", file) if file else examples.read_text(request.POST.get("text", ""))
    if len(found) > catalogue.MAX_EXAMPLES:
        message = f"There are {len(found):,} rows, and a composition takes at most {catalogue.MAX_EXAMPLES}. Choose that many of them."
        raise HubError("examples-count", message, fields={"examples": message})
    return JsonResponse({"rows": examples.cells(found)})


def _submit(request: HttpRequest, user: User, values: dict[str, Any], chosen: list[str], rows: examples.Rows) -> Composition:
    return jobs.submit(
        actor=user,
        owner=accounts.publisher(actor=user, name=values["owner"]),
        base_model=values["base_model"],
        modules=AUTO if values["how"] == AUTO else chosen,
        examples=rows,
        name=values["name"],
        method=values["method"],
        method_settings=_given(request, catalogue.method(values["method"])),
        seed=values["seed"],
        private=values["private"],
        description=values["description"],
    )


def _rows(request: HttpRequest) -> examples.Rows:
    found = examples.read_text(request.POST.get("text", ""))
    file = request.FILES.get("file")
    return found + examples.read_file(file.name or "", file) if file else found


def _given(request: HttpRequest, method: catalogue.Method) -> dict[str, Any]:
    """Return the settings that were sent, as numbers where they are numbers; the catalogue judges them."""
    found: dict[str, Any] = {}
    for setting in method.settings:
        value = request.POST.get(f"{method.name}.{setting.name}")
        if setting.kind == "bool":
            found[setting.name] = value is not None
        elif value is not None and value.strip():
            found[setting.name] = _number(value) if setting.kind in ("int", "float") else _weights(value) if setting.kind == "weights" else value
    return found


def _weights(text: str) -> Any:
    """Read one adapter a line, with its weight after it; a line that is something else is left for the catalogue to refuse."""
    found = {}
    for line in text.splitlines():
        if line.strip():
            name, _, number = line.strip().rpartition(" ")
            found[name.strip()] = _number(number.replace("\u2212", "-"))
    return found


def _number(text: str) -> Any:
    try:
        number = float(text)
        return int(number) if number.is_integer() else number
    except (ValueError, OverflowError):
        return text


def _show(form: ComposeForm, error: HubError) -> dict[str, str]:
    """Put an error where it belongs; what has no field of the form is returned by name."""
    left = {}
    for name, sentence in (error.fields or {"": error.message}).items():
        if name in form.fields:
            form.add_error(name, sentence)
        else:
            left[name] = sentence
    return left or {"": error.message}


def _first(request: HttpRequest, user: User, bases: list[BaseModel]) -> tuple[ComposeForm, list[str], examples.Rows]:
    """Return the form as it is first shown: empty, with a module, or as an earlier composition was."""
    initial: dict[str, Any] = {"base_model": request.GET.get("base_model") or (bases[0].name if bases else "")}
    chosen = request.GET.getlist("module")
    found: examples.Rows = []
    if chosen:
        adapter = adapters.find(actor=user, repo_id=chosen[0])
        initial |= {"how": PICK, "base_model": adapter.base_model}
    if (old := request.GET.get("from", "")).isdecimal():
        job = jobs.find(actor=user, job_id=int(old[:18]))
        initial |= {name: getattr(job, name) for name in ("base_model", "description", "method", "seed", "private")}
        initial |= {"name": names.free(owner=job.publisher, name=job.name), "owner": job.publisher.username, "how": AUTO if job.auto else PICK}
        initial |= {f"{job.method}.{name}": value for name, value in job.settings.items()}
        chosen = [] if job.auto else list(job.ingredients.values_list("repo_id", flat=True))
        found = list(job.examples)
    initial["text"] = examples.write(found)
    return ComposeForm(bases, access.publishers(user=user), initial=initial), chosen, found


def _page(
    request: HttpRequest, form: ComposeForm, bases: list[BaseModel], chosen: list[str], rows: examples.Rows, problems: dict[str, str] | None = None
) -> HttpResponse:
    problems = problems or {}
    base = form["base_model"].value() or ""
    text = examples.write(rows) if rows and request.FILES.get("file") else form["text"].value() or ""
    by_row = {int(name.partition(".")[2]): text for name, text in problems.items() if name.startswith("examples.")}
    context = {
        "form": form,
        "bases": bases,
        "text": text,
        "editor": {
            "rows": examples.cells(rows),
            "problems": {number - 1: said for number, said in by_row.items()},
            "min": catalogue.MIN_EXAMPLES,
            "max": catalogue.MAX_EXAMPLES,
        },
        "row_problems": sorted(by_row.items()),
        "problems": {name: said for name, said in problems.items() if not name.startswith("examples.")},
        "has_problems": bool(problems or form.errors),
        "how": form["how"].value() or AUTO,
        "methods": [(m, _fields(form, m)) for m in catalogue.METHODS],
        "method": form["method"].value(),
        "default_method": catalogue.DEFAULT_METHOD,
        "limits": {"min": catalogue.MIN_EXAMPLES, "max": catalogue.MAX_EXAMPLES, "modules": catalogue.MAX_MODULES, "auto": catalogue.MAX_AUTO_MODULES},
        **_picker(request.user, base, chosen, ""),
    }
    return render(request, "compose/form.html", context, status=400 if context["has_problems"] else 200)


def _fields(form: ComposeForm, method: catalogue.Method) -> list[Field]:
    found = []
    for setting in method.settings:
        name = f"{method.name}.{setting.name}"
        value = form.data.get(name) if form.is_bound else form.initial.get(name)
        value = setting.default if value is None else value
        if isinstance(value, dict):
            value = "\n".join(f"{name} {weight:g}" for name, weight in value.items())
        found.append(Field(setting, name, value))
    return found


def _picker(user: Any, base_model: str, chosen: list[str], find: str) -> dict[str, Any]:
    ticked = _visible(user, chosen[: catalogue.MAX_MODULES])
    known = {a.pk for a in ticked}
    wanted: dict[str, Any] = {"base_model": base_model, "composable": True, "readable": True, "sort": "downloads", "limit": SHOWN_MODULES}
    if not find:
        wanted["archived"] = False
    page = search.adapters(actor=user, q=find[:200], **wanted) if base_model else None
    others = [a for a in page.items if a.pk not in known] if page else []
    return {"ticked": ticked, "others": others, "found": page.total if page else 0, "more": bool(page and page.next), "find": find, "picker_base": base_model}


def _visible(user: Any, ids: list[str]) -> list[Adapter]:
    pairs = [texts.storable(repo_id).partition("@")[0].split("/", 1) for repo_id in ids if "/" in repo_id]
    if not pairs:
        return []
    wanted = functools.reduce(operator.or_, (Q(owner__username=owner, name=name) for owner, name in pairs))
    return list(Adapter.objects.visible_to(user).for_listing().filter(wanted).order_by("pk"))


def _describe(base: BaseModel, name: str) -> str:
    adapters_word = "adapter" if base.adapters == 1 else "adapters"  # type: ignore[attr-defined]
    worker = "" if base.available_at else ", no worker has it yet"
    return f"{name} ({base.adapters} {adapters_word}{worker})"  # type: ignore[attr-defined]
