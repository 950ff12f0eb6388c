/* Upload page: choose or drop a folder, check it before a byte is sent, let a worker send it with progress. The plain form works without this. */
import { csrfToken, icon, make, size } from "./dom.js";
import { cardFile, refreshCard, setUpCard } from "./upload_card.js";
import { check, missing, understood } from "./upload_checks.js";

const rules = JSON.parse(document.getElementById("upload-rules").textContent);
const form = document.getElementById("upload");
const list = document.getElementById("file-list");
const zone = document.getElementById("drop-zone");
const alertBox = document.getElementById("files-error");
const sendButton = document.getElementById("send");
const stopButton = document.getElementById("stop");
const isNew = !rules.repo;
const JUNK = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX\/.*|\.git\/.*|\.cache\/.*|\.ipynb_checkpoints\/.*)$/;
let chosen = [];       // {path, file, notes: [text], problem}, and while it is sent {read: 0 to 1, parts: {number: bytes}, there}
let worker = null;     // while something is on its way
let run = null;        // {phase, started, kept}: of this try, when the first byte went, and bytes that earlier tries had sent

/* ----- what was chosen ----- */

function stripFolder(files) {
  let folder = "";
  while (files.length && files.every(f => f.path.includes("/")) && new Set(files.map(f => f.path.split("/")[0])).size === 1) {
    folder = files[0].path.split("/")[0];
    files.forEach(f => { f.path = f.path.slice(folder.length + 1); });
  }
  return folder;
}

async function add(files) {
  const useful = files.filter(f => !JUNK.test(f.path));
  const folder = stripFolder(useful);
  for (const item of useful) {
    chosen = chosen.filter(f => f.path !== item.path);
    chosen.push({ path: item.path, file: item.file, notes: [], warnings: [], problem: "" });
  }
  chosen.sort((a, b) => a.path.localeCompare(b.path));
  if (isNew && folder && !form.elements.name.value) form.elements.name.value = folder.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-._]+|[-.]+$/g, "");
  say("");
  draw();
  await Promise.all(chosen.map(item => check(item, rules)));
  draw();
  if (isNew) refreshCard(chosen);
}

async function walk(entry, prefix) {
  if (entry.isFile) return [{ path: prefix + entry.name, file: await new Promise((done, fail) => entry.file(done, fail)) }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) break;
    for (const child of some) found.push(...await walk(child, `${prefix}${entry.name}/`));
  }
  return found;
}

/* ----- what the page shows ----- */

function draw() {
  list.replaceChildren(...chosen.map(row));
  const lack = lacking();
  if (lack) list.append(make("p", { class: "error" }, icon("alert"), ` ${lack}`));
  const { facts, notes } = understood(chosen, rules);
  document.getElementById("understood").hidden = !facts.length;
  document.getElementById("understood-facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  document.getElementById("understood-notes").replaceChildren(...notes.map(note => make("li", { class: "warning" }, icon("info"), ` ${note}`)));
}

function lacking() { return isNew ? missing(chosen, rules) : ""; }

function row(item) {
  const body = make("div", {}, make("b", {}, item.path));
  const right = make("span", { class: "end-cell" }, make("span", { class: "num small muted" }, size(item.file.size)));
  if (worker) {
    item.bar = make("progress", { max: "100", value: "0", "aria-label": `Upload of ${item.path}` });
    item.said = right.firstChild;
  } else {
    const out = make("button", { class: "btn mini", type: "button" }, item.problem ? "Leave it out" : "Remove");
    out.setAttribute("aria-label", `${out.textContent}: ${item.path}`);
    out.addEventListener("click", () => { chosen = chosen.filter(f => f !== item); say(""); draw(); if (isNew) refreshCard(chosen); });
    right.append(out);
  }
  if (item.problem) body.append(make("p", { class: "error" }, item.problem));
  for (const text of item.warnings) body.append(make("p", { class: "warning" }, icon("info"), ` ${text}`));
  if (!item.problem && item.notes.length) body.append(make("ul", { class: "checks" }, ...item.notes.map(note => make("li", {}, icon("check"), ` ${note}`))));
  return make("div", { class: item.problem ? "filerow bad" : "filerow" }, icon(item.problem ? "alert" : "file"), body, right, ...(worker ? [item.bar] : []));
}

function say(text) {
  alertBox.replaceChildren(...(text ? [make("p", { class: "error" }, icon("alert"), ` ${text}`)] : []));
  document.getElementById("choose-again")?.remove();
}

function tell(text) {
  say(text);
  alertBox.scrollIntoView({ block: "center" });
}

function sayAt(name, text) {
  const input = form.elements[name];
  const id = `${input.id}_error`;
  document.getElementById(id)?.remove();
  input.toggleAttribute("aria-invalid", false);
  if (!text) return;
  const note = make("p", { class: "error", id }, icon("alert"), ` ${text}`);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
  input.closest(".field").append(note);
  input.focus();
}

/* ----- sending: the worker speaks the hub's protocol, this shows how far it is ----- */

function commit(repo) {
  const written = isNew && cardFile();
  const sent = written ? [...chosen.filter(item => item.path !== rules.card), { path: rules.card, file: written }] : chosen;
  const files = sent.map(item => ({ operation: "addOrUpdate", path: item.path, content: item.file }));
  const removed = Array.from(form.querySelectorAll("[name=deletions]:checked"), box => ({ operation: "delete", path: box.value }));
  return { repo: { type: "model", name: repo }, title: form.elements.message.value, parentCommit: form.elements.parent?.value || undefined, operations: [...files, ...removed] };
}

/* What a commit that begins an adapter says beside its files. */
function wishes() {
  if (!isNew) return [];
  const tags = form.elements.tags.value.split(",").map(tag => tag.trim()).filter(Boolean);
  return [["create_repo", "1"], ["private", form.elements.private.value], ...tags.map(tag => ["tag", tag])];
}

function send() {
  const repo = rules.repo || `${form.elements.owner?.value || rules.owner}/${form.elements.name.value.trim()}`;
  run = { phase: "preuploading", started: 0, kept: 0 };
  for (const item of chosen) Object.assign(item, { read: undefined, parts: {}, there: false });
  worker = new Worker(form.dataset.worker, { type: "module" });
  worker.addEventListener("message", ({ data }) => heard(data, repo));
  worker.addEventListener("error", () => { end(); say("The part of this page that sends the files did not start. Reload the page, and choose the files once more."); });
  sendButton.textContent = sendButton.dataset.label;
  busy(true);
  show();
  worker.postMessage({ commit: commit(repo), asks: wishes(), token: csrfToken(form) });
}

function heard(data, repo) {
  const item = chosen.find(f => f.path === data.path);
  if (data.event === "done") { worker = null; location.assign(`/${repo}`); return; }
  if (data.event === "failed") { const late = run.phase === "committing"; end(); failed(data, repo, late); return; }
  if (data.path && !item) return;  // the card that the hub wrote; it goes with the commit itself
  if (data.event === "phase") run.phase = data.phase;
  if (data.event === "sent") item.parts[data.part] = data.bytes;
  if (data.event === "there") { item.parts[data.part] = data.bytes; run.kept += data.bytes; }
  if (data.event === "fileProgress" && data.state === "hashing") item.read = data.progress;
  if (data.event === "fileProgress" && data.state === "uploading" && data.progress === 1 && !item.there) {
    if (!Object.keys(item.parts).length) run.kept += item.file.size;
    item.there = true;
  }
  if (data.event === "sent") run.started ||= Date.now();
  show();
}

function end() {
  worker?.terminate();
  worker = null;
  busy(false);
}

function busy(on) {
  document.getElementById("progress").hidden = !on;
  stopButton.hidden = !on;
  sendButton.disabled = on;
  zone.inert = on;
  draw();
}

function sent(item) {
  return item.there || run.phase === "committing" ? item.file.size : Math.min(item.file.size, Object.values(item.parts).reduce((sum, bytes) => sum + bytes, 0));
}

function show() {
  const large = chosen.filter(item => item.read !== undefined);
  const total = large.reduce((sum, item) => sum + item.file.size, 0), read = large.reduce((sum, item) => sum + item.read * item.file.size, 0);
  const done = large.reduce((sum, item) => sum + sent(item), 0);
  const reads = run.phase !== "committing" && read < total;
  document.getElementById("progress-bar").value = run.phase === "committing" ? 100 : total ? Math.round(100 * (reads ? read : done) / total) : 0;
  document.getElementById("progress-text").textContent = words(reads, read, done, total);
  stopButton.hidden = run.phase === "committing";
  for (const item of chosen) {
    const bytes = sent(item);
    item.bar.value = item.file.size ? Math.round(100 * bytes / item.file.size) : 100;
    item.said.textContent = bytes && bytes < item.file.size ? `${size(bytes)} of ${size(item.file.size)}` : size(item.file.size);
  }
}

function words(reads, read, done, total) {
  if (run.phase === "committing") return "All bytes are there. The hub is checking them.";
  if (run.phase === "preuploading" || !total) return "Asking the hub what it needs.";
  if (reads) return `Reading the files: ${Math.round(100 * read / total)} %`;
  const speed = (done - run.kept) / Math.max(0.5, (Date.now() - run.started) / 1000);
  const left = run.started && speed > 0 ? Math.round((total - done) / speed) : 0;
  return `${size(done)} of ${size(total)}${left > 1 ? `, ${left} s left` : ""}`;
}

function failed({ status, message, fields, broken, said }, repo, late) {
  const place = isNew && ["name", "tags"].find(name => fields?.[name]);
  if (place) { sayAt(place, message); return; }
  if (broken && late) { tell(`The connection broke at the very end. Look whether ${repo} has the files, and send them again if not.`); goOn(); return; }
  if (broken) { tell("The connection broke, and nothing was published. What has arrived is kept for a few hours: press the button to go on from there."); goOn(); return; }
  if (status === 401) { tell("You are not logged in any more. Log in in another tab, then press the button to go on."); goOn(); return; }
  if (message) { tell(message); return; }
  tell(status ? `The hub answered with status ${status}, and nothing was published. Try again in a minute.` : `The files could not be read (${said}). Choose them once more.`);
}

function goOn() {
  sendButton.textContent = "Continue the upload";
  sendButton.focus({ preventScroll: true });
}

function problem() {
  const removes = form.querySelectorAll("[name=deletions]:checked").length;
  if (!chosen.length && !removes) return "Choose at least one file.";
  if (chosen.length > rules.maxFiles) return `These are ${chosen.length} files; a revision holds at most ${rules.maxFiles}. Leave out checkpoints and caches.`;
  const bad = chosen.find(f => f.problem);
  if (bad) return `${bad.path} is not accepted. Leave it out, then send the rest.`;
  return lacking();
}

form.addEventListener("submit", async event => {
  event.preventDefault();
  say("");
  if (isNew) { sayAt("tags", ""); sayAt("name", ""); }
  const text = problem();
  if (text) { tell(text); return; }
  const name = isNew ? form.elements.name.value.trim() : "";
  if (isNew && !name) { sayAt("name", "Give it a name."); return; }
  if (isNew && !new RegExp(`^(?:${rules.name})$`).test(name)) { sayAt("name", rules.nameSaid); return; }
  const wrong = isNew ? await refreshCard(chosen) : "";
  if (wrong) tell(wrong);
  else if (!worker) send();
});
stopButton.addEventListener("click", () => {
  end();
  tell("Stopped, and nothing was published. What has arrived is kept for a few hours: press the button to go on from there.");
  goOn();
});
addEventListener("beforeunload", event => { if (worker) event.preventDefault(); });

function take(input) {
  add(Array.from(input.files, file => ({ path: file.webkitRelativePath || file.name, file })));
  input.value = "";
}
for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => take(input));
  if (input.files.length) take(input);  // chosen before this script was there
}
zone.addEventListener("click", event => {
  const button = event.target.closest("[data-pick]");
  if (button) document.getElementById(button.dataset.pick).click();
});
for (const name of ["dragenter", "dragover"]) addEventListener(name, event => { event.preventDefault(); zone.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, event => { if (name === "drop" || !event.relatedTarget) zone.classList.remove("over"); });
addEventListener("drop", async event => {
  event.preventDefault();
  if (worker) return;
  const files = Array.from(event.dataTransfer.files, file => ({ path: file.name, file }));
  const entries = Array.from(event.dataTransfer.items, item => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) found.push(...await walk(entry, ""));
  if (!entries.length) found.push(...files);
  if (found.length) await add(found);
});

if (isNew) setUpCard(form, rules, () => chosen);
zone.hidden = false;
document.getElementById("plain-inputs").hidden = true;
