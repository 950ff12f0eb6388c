/* Compose page: a table editor over the text box, a summary, and only the parts that matter for the choice. The plain form works without this. */
import { icon, make } from "./dom.js";

const form = document.getElementById("compose-form");
const data = form && JSON.parse(document.getElementById("editor-data").textContent);
const box = document.getElementById("editor");
const kept = document.getElementById("kept");
let rows = [];
let shared = ""; // what the text box said when the table last said the same
let remembered = ""; // what this script last wrote into `kept`

/* ----- the table ----- */

function isBlank(row) { return !row.input.trim() && !row.output.trim(); }

function blank() { return { input: "", output: "", said: "" }; }

function cell(row, number, key) {
  const area = make("textarea", { rows: "1", "aria-label": `${key === "input" ? "Input" : "Output"} of row ${number + 1}`, spellcheck: "false", autocomplete: "off" });
  area.value = row[key];
  if (number === 0) area.placeholder = key === "input" ? "417 + 286" : "703";
  area.addEventListener("input", () => {
    row[key] = area.value;
    row.said = "";
    if (row === rows.at(-1) && !isBlank(row)) append(blank());
    judge();
  });
  area.addEventListener("blur", judge);
  area.addEventListener("paste", event => paste(event, row));
  return area;
}

function line(row, number) {
  const remove = make("button", { class: "btn quiet mini", type: "button", "aria-label": `Remove row ${number + 1}` }, icon("x"));
  remove.addEventListener("click", () => {
    rows = rows.filter(r => r !== row);
    if (!rows.length) rows.push(blank());
    draw();
    focusInput(rows[Math.min(number, rows.length - 1)]);
  });
  row.tr = make("tr", {}, make("th", { scope: "row", class: "i" }, String(number + 1)), make("td", {}, cell(row, number, "input")), make("td", {}, cell(row, number, "output")), make("td", { class: "x" }, remove));
  row.note = make("tr", { class: "problem", hidden: "" }, make("td", {}), make("td", { colspan: "3", id: `problem-${number + 1}` }));
  return [row.tr, row.note];
}

function body() { return box.querySelector("tbody"); }

function focusInput(row) { row.tr.querySelector("textarea").focus(); }

function append(row) {
  rows.push(row);
  body().append(...line(row, rows.length - 1));
}

function draw() {
  const head = make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "i" }, "#"), make("th", { scope: "col" }, "Input"), make("th", { scope: "col" }, "Output"), make("th", { class: "x" }, make("span", { class: "vh" }, "Remove"))));
  const table = make("table", { class: "editor" }, make("caption", { class: "vh" }, "Examples of the task"), head, make("tbody", {}, ...rows.flatMap(line)));
  const more = make("button", { class: "btn", type: "button" }, icon("plus"), " Add a row");
  more.addEventListener("click", () => { append(blank()); focusInput(rows.at(-1)); });
  const clear = make("button", { class: "btn quiet", type: "button" }, "Empty the table");
  clear.addEventListener("click", () => { rows = Array.from({ length: data.min }, blank); draw(); focusInput(rows[0]); });
  box.replaceChildren(make("div", { class: "bar summary", id: "counts", role: "status" }), table, make("div", { class: "bar after" }, more, clear));
  judge();
}

function problemOf(row) {
  if (row.said) return row.said;
  const number = rows.indexOf(row) + 1;
  if (isBlank(row) || row.tr.contains(document.activeElement)) return "";
  if (!row.output.trim()) return `Row ${number} has no output. Write one, or remove the row.`;
  if (!row.input.trim()) return `Row ${number} has no input. Write one, or remove the row.`;
  const length = row.input.length + row.output.length;
  if (length > data.characters) return `Row ${number} has ${length.toLocaleString("en")} characters; at most ${data.characters.toLocaleString("en")} are allowed. Shorten it.`;
  return "";
}

/* What is allowed and seldom meant; `seen` holds the rows before by input and output. */
function doubtOf(row, number, seen) {
  if (isBlank(row)) return null;
  const answers = seen.get(row.input.trim()) || new Map(), [other] = answers.values(), same = answers.get(row.output.trim());
  seen.set(row.input.trim(), answers);
  if (same) return { kind: "double", text: `Same as row ${same}. It counts twice.` };
  answers.set(row.output.trim(), number);
  return other ? { kind: "torn", text: `Asks the same as row ${other} and wants another answer.` } : null;
}

function judge() {
  const seen = new Map(), found = { bad: 0, double: 0, torn: 0 };
  rows.forEach((row, number) => {
    const said = problemOf(row), doubt = doubtOf(row, number + 1, seen), warns = !said && doubt !== null;
    if (said) found.bad += 1;
    if (warns) found[doubt.kind] += 1;
    row.tr.className = said ? "has-problem" : warns ? "has-warning" : "";
    row.note.className = warns ? "problem soft" : "problem";
    row.note.hidden = !said && !warns;
    row.note.lastChild.replaceChildren(...(said || warns ? [icon(said ? "alert" : "info"), ` ${said || doubt.text}`] : []));
    const areas = [...row.tr.querySelectorAll("textarea")], lacks = areas.some(area => !area.value.trim());
    for (const area of areas) {
      const wrong = Boolean(said) && !(lacks && area.value.trim());
      if (wrong) { area.setAttribute("aria-invalid", "true"); area.setAttribute("aria-describedby", `problem-${number + 1}`); }
      else { area.removeAttribute("aria-invalid"); area.removeAttribute("aria-describedby"); }
    }
  });
  count(found);
}

function count({ bad, double, torn }) {
  const full = rows.filter(row => !isBlank(row)).length;
  const parts = [make("span", { class: full >= data.min && full <= data.max ? "badge info" : "badge" }, `${full} example${full === 1 ? "" : "s"}`)];
  const optional = Boolean(form.querySelector("[name=method]:checked[data-optional]")) && !full;
  if (optional) parts.push(make("span", { class: "muted small" }, "none needed for this method"));
  else if (full < data.min) parts.push(make("span", { class: "muted small" }, `${data.min - full} more needed`));
  if (full > data.max) parts.push(make("span", { class: "badge bad" }, icon("alert"), ` ${full - data.max} too many`));
  if (bad) parts.push(make("span", { class: "badge bad" }, icon("alert"), ` ${bad} to mend`));
  if (double) parts.push(make("span", { class: "badge warn" }, `${double} repeat${double === 1 ? "s" : ""} another`));
  if (torn) parts.push(make("span", { class: "badge warn" }, `${torn} contradict${torn === 1 ? "s" : ""} another`));
  const counts = document.getElementById("counts");
  if (counts.textContent !== parts.map(p => p.textContent).join("")) counts.replaceChildren(...parts);
  summary(full);
  share();
}

/* The text box holds what the table says at any time: it is what the form sends, and what estimate and suggestions are made from. */
function share() {
  const text = rows.filter(row => !isBlank(row)).map(row => JSON.stringify({ input: row.input, output: row.output })).join("\n");
  const box = form.elements.text, isNew = box.value.trim() !== text;
  if (isNew) box.value = text;
  shared = box.value;
  if (isNew) document.getElementById("estimate").dispatchEvent(new Event("rows"));
}

/* ----- rows from elsewhere: the server reads them, so that there is one reader ----- */

async function fetchRows(name, value) {
  const sent = new FormData();
  sent.append(name, value);
  sent.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  const answer = await fetch("/compose/rows", { method: "POST", body: sent, headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error.message);
  return found.rows.map(row => ({ ...row, said: "" }));
}

/* Rows from the text box: as this script writes them, or as somebody wrote who was there before it; what is no row is kept as an input. */
async function read(text) {
  const lines = text.split("\n").filter(line => line.trim());
  try {
    const found = lines.map(line => JSON.parse(line));
    if (found.every(row => typeof row?.input === "string" && typeof row.output === "string")) return found.map(({ input, output }) => ({ input, output, said: "" }));
  } catch { /* another notation */ }
  try { return await fetchRows("text", text); } catch { return lines.map(input => ({ input, output: "", said: "" })); }
}

function insert(found, after) {
  const at = after ? rows.indexOf(after) : rows.length;
  const before = rows.slice(0, at).filter(row => !isBlank(row));
  const rest = rows.slice(after && isBlank(after) ? at + 1 : at).filter(row => !isBlank(row));
  rows = [...before, ...found, ...rest, blank()];
  const isFocusLost = box.contains(document.activeElement); // drawing makes every cell anew
  draw();
  if (isFocusLost) focusInput(found[0]);
  tell("");
}

/* A sheet copies as many tabs on every line; code that is indented by tabs, or a text with one somewhere, belongs into the cell as it is. */
function isTable(text) {
  const lines = text.split(/\r\n|\r|\n/).filter(line => line.trim());
  const tabs = new Set(lines.map(line => line.split("\t").length - 1));
  return tabs.size === 1 && !tabs.has(0) && !lines.some(line => line.startsWith("\t"));
}

async function paste(event, row) {
  const text = event.clipboardData.getData("text/plain");
  tell("");
  if (!isTable(text)) return;
  event.preventDefault();
  try { insert(await fetchRows("text", text), row); } catch (error) { tell(error.message); }
}

function tell(text) {
  const note = document.getElementById("editor-note");
  note.replaceChildren(...(text ? [make("div", { class: "note bad" }, icon("alert"), make("p", {}, text))] : []));
  if (text) note.scrollIntoView({ block: "nearest" });
}

/* ----- the rest of the form ----- */

function summary(full) {
  const auto = form.elements.how.value === "auto";
  const ticked = picked().length;
  const method = form.querySelector("[name=method]:checked");
  document.querySelector("[data-sum=examples]").textContent = full;
  document.querySelector("[data-sum=adapters]").textContent = auto ? "found for you" : ticked ? `${ticked} chosen` : "none chosen yet";
  document.querySelector("[data-sum=method]").textContent = method ? method.parentElement.querySelector("b").firstChild.data.trim() : "";
  document.getElementById("start").textContent = full ? `Start with ${full} example${full === 1 ? "" : "s"}` : "Start";
  document.getElementById("picker").hidden = auto;
  for (const set of form.querySelectorAll("[data-method]")) set.hidden = set.dataset.method !== method?.value;
}

function refresh() { summary(rows.filter(row => !isBlank(row)).length); }

function picked() { return [...document.querySelectorAll("#modules :is(:checked, [type=hidden])")].map(box => box.value); }

/* ----- what a browser restores: on Back, or in a reopened tab, it fills the form in after this script has begun, and tells nobody ----- */

/* Fields without suggestions are not restored, and boxes by their place in a list that may be another one then. */
function keep() {
  kept.value = remembered = JSON.stringify({ name: form.elements.name.value, description: form.elements.description.value, modules: picked() });
}

/* Adapters that the list does not show are sent with the question for it; in the answer they are ticked. */
function recall() {
  remembered = kept.value;
  const { name, description, modules } = JSON.parse(kept.value), list = document.getElementById("modules"), wanted = new Set(modules);
  form.elements.name.value = name;
  form.elements.description.value = description;
  for (const box of list.querySelectorAll("[type=checkbox]")) box.checked = wanted.delete(box.value);
  list.append(...[...wanted].map(value => make("input", { type: "hidden", name: "modules", value })));
}

function isSet(control) {
  if (control.closest("[hidden]")) return false;
  if (control.options) return [...control.options].some(option => option.selected !== option.defaultSelected);
  return control.checked !== control.defaultChecked || control.value !== control.defaultValue;
}

async function restore() {
  const text = form.elements.text.value;
  if (text === shared && kept.value === remembered) return;
  if (kept.value !== remembered) recall();
  if (text !== shared) rows = await read(text);
  fill();
  for (const fold of form.querySelectorAll("details")) fold.open ||= [...fold.querySelectorAll("input, select, textarea")].some(isSet);
  document.getElementById("modules").dispatchEvent(new Event("suggest"));
  document.getElementById("estimate").dispatchEvent(new Event("rows"));
}

function fill() {
  while (rows.length < data.min) rows.push(blank());
  draw();
}

function begin() {
  const text = form.elements.text.value, isSent = text === form.elements.text.defaultValue && (data.rows.length > 0 || !text.trim());
  rows = data.rows.map((row, number) => ({ ...row, said: data.problems[number] || "" }));
  fill();
  if (!isSent) form.elements.text.value = text; // restored before, or what the server could not read: rows are made of it once the page is there
  window.addEventListener("pageshow", restore);
  for (const id of ["editor", "editor-tools", "picker-search"]) document.getElementById(id).hidden = false;
  for (const part of document.querySelectorAll("#summary [hidden]")) part.hidden = false;
  document.getElementById("plain-examples").hidden = true;
  form.addEventListener("input", keep);
  form.addEventListener("change", refresh);
  for (const choice of form.querySelectorAll("[name=method]")) choice.addEventListener("change", judge);
  document.addEventListener("htmx:afterSwap", () => { refresh(); keep(); });
  form.addEventListener("submit", () => { share(); form.elements.file.value = ""; });
  for (const choice of form.elements.how) choice.addEventListener("change", () => { if (choice.value === "pick") document.getElementById("modules").dispatchEvent(new Event("suggest")); });
  form.querySelector("[data-file]").addEventListener("click", () => form.elements.file.click());
  form.elements.file.addEventListener("change", async () => {
    const [file] = form.elements.file.files;
    if (!file) return;
    tell("");
    try { insert(await fetchRows("file", file)); } catch (error) { tell(error.message); }
    form.elements.file.value = "";
  });
  const dialog = document.getElementById("paste-dialog");
  form.querySelector("[data-paste]").addEventListener("click", () => { document.getElementById("paste-text").value = ""; dialog.showModal(); });
  document.getElementById("paste-add").addEventListener("click", async event => {
    event.preventDefault();
    const error = document.getElementById("paste-error");
    error.hidden = true;
    try { insert(await fetchRows("text", document.getElementById("paste-text").value)); dialog.close(); } catch (problem) { error.textContent = problem.message; error.hidden = false; }
  });
  for (const link of document.querySelectorAll("[data-row]")) link.addEventListener("click", event => {
    event.preventDefault();
    const line = (rows[Number(link.dataset.row) - 1] || rows.find(isBlank) || rows.at(-1)).tr;
    (line.querySelector("[aria-invalid]") || line.querySelector("textarea")).focus();
  });
  form.querySelector("#find").addEventListener("keydown", event => { if (event.key === "Enter") event.preventDefault(); });
}

if (form) begin();
