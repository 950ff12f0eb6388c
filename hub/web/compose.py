"""The compose page: a form that keeps everything typed, and what its script asks for."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from compose_worker.engine import catalogue
from hub.errors import HubError
from hub.models import BaseModel, Composition, User
from hub.models.adapters import validate_adapter_name
from hub.services import access, accounts, adapters, estimates, jobs, names, pinning, search, workers
from hub.web import examples, method_fields, picker, refusals

AUTO, PICK = "auto", "pick"
HOW = [(AUTO, "Find them for me"), (PICK, "I choose")]
SEED = dict.fromkeys(("required", "invalid", "min_value", "max_value"), f"Must be a whole number from 0 to {2**32 - 1}.")


class ComposeForm(forms.Form):
    """The parts of a composition that fit into plain fields; modules and settings are read beside it."""

    base_model = forms.CharField(label="Base model", max_length=200, widget=forms.Select, error_messages={"required": "Choose one."})
    name = forms.CharField(
        label="Name of the result",
        max_length=96,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        validators=[validate_adapter_name],
        error_messages={"required": "Name it."},
    )
    description = forms.CharField(label="What the task is", required=False, max_length=1000, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    text = forms.CharField(label="Examples", required=False, strip=False, widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}))
    file = forms.FileField(label="Examples", required=False, allow_empty_file=True)
    how = forms.ChoiceField(label="Adapters", choices=HOW, initial=AUTO)
    method = forms.ChoiceField(label="Method", choices=[(m.name, m.title) for m in catalogue.METHODS], initial=catalogue.DEFAULT_METHOD)
    # Text, as the settings: of a number field that a browser cannot read it sends nothing, and the default would be taken.
    seed = forms.IntegerField(
        label="Seed", initial=0, min_value=0, max_value=2**32 - 1, widget=forms.TextInput(attrs={"inputmode": "numeric"}), error_messages=SEED
    )
    private = forms.BooleanField(required=False)
    anywhere = forms.BooleanField(label="Lent machines", required=False)

    def __init__(self, base_models: list[BaseModel], publishers: list[User], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"] = forms.ChoiceField(
            label="Publish under", required=False, choices=[(account.username, account.username) for account in publishers]
        )
        tails = [b.name.rpartition("/")[2] for b in base_models]
        self.fields["base_model"].widget.choices = [
            (b.name, _describe(b, tail if tails.count(tail) == 1 else b.name)) for b, tail in zip(base_models, tails, strict=True)
        ]


@require_http_methods(["GET", "HEAD", "POST"])
def compose(request: HttpRequest) -> HttpResponse:
    """Show the form, and start what it describes."""
    user = access.require_login(request.user)
    bases = [b for b in search.base_models(actor=user) if b.adapters]
    if request.method != "POST":
        form, chosen, rows = _first(request, user, bases)
        return _page(request, form, bases, chosen, rows)
    chosen = request.POST.getlist("modules")
    rows, unread = _rows(request)
    if request.POST.get("action") == "read":
        text = request.POST.get("text", "") if unread else examples.write(rows)
        form = ComposeForm(bases, access.publishers(user=user), initial={**request.POST.dict(), "text": text})
        return _page(request, form, bases, chosen, rows, unread)
    form = ComposeForm(bases, access.publishers(user=user), request.POST, request.FILES)
    refused: dict[str, str] = {}
    if form.is_valid() and not unread:
        try:
            return redirect("composition-detail", _submit(request, user, form.cleaned_data, chosen, rows).pk)
        except HubError as error:
            refused = error.fields or {"": error.message}
    found = _problems(request, user, form.cleaned_data, chosen, None if unread else rows)
    return _page(request, form, bases, chosen, rows, _show(form, unread | found or refused))


@require_POST
def estimate(request: HttpRequest) -> HttpResponse:
    """Answer how long what the form says would take."""
    user = access.require_login(request.user)
    form = ComposeForm([], [], request.POST)
    found = _estimate(user, form, len(request.POST.getlist("modules")), picker.rows_of(request.POST.get("text", "")))
    return render(request, "compose/_estimate.html", {"estimate": found})


@require_POST
def rows(request: HttpRequest) -> HttpResponse:
    """Answer the table editor: the rows of a file or of pasted text."""
    access.require_login(request.user)
    file = request.FILES.get("file")
    found = examples.read_file(file.name or "", file) if file else examples.some(examples.read_text(request.POST.get("text", "")), "The text")
    if len(found) > catalogue.MAX_EXAMPLES:
        message = f"There are {len(found):,} rows, and a composition takes at most {catalogue.MAX_EXAMPLES}. Choose that many of them."
        raise HubError("examples-count", message, fields={"examples": message})
    return JsonResponse({"rows": examples.cells(found)})


def _submit(request: HttpRequest, user: User, values: dict[str, Any], chosen: list[str], rows: examples.Rows) -> Composition:
    return jobs.submit(**_order(request, user, values, chosen, rows), seed=values["seed"], description=values["description"])


def _problems(request: HttpRequest, user: User, values: dict[str, Any], chosen: list[str], rows: examples.Rows | None) -> dict[str, str]:
    """Return by field what else than the form's own rules keeps this from starting."""
    try:
        return jobs.problems(**_order(request, user, values, chosen, rows))
    except HubError as error:
        return error.fields or {"": error.message}


def _order(request: HttpRequest, user: User, values: dict[str, Any], chosen: list[str], rows: examples.Rows | None) -> dict[str, Any]:
    method, how = values.get("method"), values.get("how")
    return {
        "actor": user,
        "owner": accounts.publisher(actor=user, name=values.get("owner", "")),
        "base_model": values.get("base_model"),
        "modules": AUTO if how == AUTO else chosen if how else None,
        "examples": rows,
        "name": values.get("name"),
        "method": method,
        "method_settings": method_fields.given(request.POST, catalogue.method(method)) if method else {},
        "private": values["private"],
        "anywhere": values["anywhere"],
    }


def _rows(request: HttpRequest) -> tuple[examples.Rows, dict[str, str]]:
    """Return the examples of text and file, or why they cannot be read."""
    file = request.FILES.get("file")
    try:
        found = examples.read_text(request.POST.get("text", ""))
        return (found + examples.read_file(file.name or "", file) if file else found), {}
    except HubError as error:
        return [], error.fields or {"examples": error.message}


def _show(form: ComposeForm, problems: dict[str, str]) -> dict[str, str]:
    """Put problems to the form's fields where they have one; the others are returned."""
    for name, sentence in problems.items():
        if name in form.fields and not form.has_error(name):
            form.add_error(name, sentence)
    return {name: sentence for name, sentence in problems.items() if name not in form.fields}


def _first(request: HttpRequest, user: User, bases: list[BaseModel]) -> tuple[ComposeForm, list[str], examples.Rows]:
    """Return the form as it is first shown: empty, with a module, or as an earlier composition was."""
    asked = request.GET.get("base") or request.GET.get("base_model")
    initial: dict[str, Any] = {"base_model": asked or (bases[0].name if bases else "")}
    chosen = [name for value in (*request.GET.getlist("module"), *request.GET.getlist("modules")) for name in value.split(",") if name]
    found: examples.Rows = []
    method = _asked_method(request)
    if chosen:
        found_adapters = [adapters.find(actor=user, repo_id=name) for name in chosen[: catalogue.MAX_MODULES]]
        initial |= {"how": PICK, "base_model": asked or found_adapters[0].base_model}
    if (old := request.GET.get("from", "")).isdecimal():
        job = jobs.find(actor=user, job_id=int(old[:18]))
        initial |= {name: getattr(job, name) for name in ("base_model", "description", "seed", "private", "anywhere")}
        initial |= {"name": names.free(owner=job.publisher, name=job.name), "owner": job.publisher.username, "how": AUTO if job.auto else PICK}
        method = method or job.method
        initial |= {f"{taker}.{name}": value for taker in {job.method, method} for name, value in job.settings.items()}
        chosen, gone = ([], []) if job.auto else pinning.again(actor=user, job=job)
        if gone:
            messages.warning(request, f"Left out because they are gone, or closed to you: {', '.join(gone)}.")
        found = list(job.examples)
    initial |= {"text": examples.write(found), "method": method or catalogue.DEFAULT_METHOD}
    return ComposeForm(bases, access.publishers(user=user), initial=initial), chosen, found


def _asked_method(request: HttpRequest) -> str:
    """The method that the address names, if there is one of that name."""
    asked = request.GET.get("method", "")
    return asked if asked in {method.name for method in catalogue.METHODS} else ""


def _page(
    request: HttpRequest, form: ComposeForm, bases: list[BaseModel], chosen: list[str], rows: examples.Rows, problems: dict[str, str] | None = None
) -> HttpResponse:
    problems = problems or {}
    base = form["base_model"].value() or ""
    text = examples.write(rows) if rows and request.FILES.get("file") else form["text"].value() or ""
    by_row = refusals.by_row(problems)
    context = {
        "form": form,
        "bases": bases,
        "lent_exist": workers.lent_exist(),
        "text": text,
        "editor": {
            "rows": examples.cells(rows),
            "problems": {number - 1: said for number, said in by_row.items()},
            "min": catalogue.MIN_EXAMPLES,
            "max": catalogue.MAX_EXAMPLES,
            "characters": catalogue.MAX_EXAMPLE_CHARACTERS,
        },
        "row_problems": list(by_row.items()),
        "problems": problems,
        "setting_problems": any(name.startswith("settings.") for name in problems),
        "refusals": refusals.listed(form, problems),
        "how": form["how"].value() or AUTO,
        "methods": method_fields.choices(form, problems),
        "plain_methods": list(method_fields.PLAIN),
        "method": form["method"].value(),
        "default_method": catalogue.DEFAULT_METHOD,
        "limits": {"min": catalogue.MIN_EXAMPLES, "max": catalogue.MAX_EXAMPLES, "modules": catalogue.MAX_MODULES, "auto": catalogue.MAX_AUTO_MODULES},
        "estimate": _estimate(request.user, form, len(chosen), rows),
        **picker.context(request.user, picker.Asked(base, chosen, "", form["description"].value() or "", rows, bool(form["private"].value()))),
    }
    return render(request, "compose/form.html", context, status=400 if context["refusals"] else 200)


def _estimate(user: Any, form: ComposeForm, chosen: int, rows: examples.Rows) -> dict[str, Any]:
    """Return how long this would take, as far as the hub can tell, and what it rests on."""
    name = form["method"].value() or catalogue.DEFAULT_METHOD
    method = next((m for m in catalogue.METHODS if m.name == name), catalogue.METHODS[0])
    given = method_fields.given(form.data or form.initial, method)
    if catalogue.problems(method.name, given):
        return {"unfit": True}
    settings = catalogue.check(method.name, given)
    auto = form["how"].value() != PICK
    base = form["base_model"].value() or ""
    modules = picker.count(user, base) if auto else chosen
    characters = estimates.characters(rows)
    ready = bool(modules and (characters or not method.needs_examples))
    plan = estimates.Plan(base, method.name, settings, modules, auto, characters if method.needs_examples else 0)
    return {"ready": ready, "base": base, "found": estimates.estimate(actor=user, plan=plan) if ready else None}


def _describe(base: BaseModel, name: str) -> str:
    adapters_word = "adapter" if base.adapters == 1 else "adapters"  # type: ignore[attr-defined]
    worker = "" if base.available_at else ", no worker has it yet"
    return f"{name} ({base.adapters} {adapters_word}{worker})"  # type: ignore[attr-defined]
