/* Upload page: choose or drop a folder, check it before a byte is sent, send it with progress. The plain form works without this. */
"use strict";

const rules = JSON.parse(document.getElementById("upload-rules").textContent);
const form = document.getElementById("upload");
const list = document.getElementById("file-list");
const zone = document.getElementById("drop-zone");
const alertBox = document.getElementById("files-error");
const isNew = !form.elements.to;
const JUNK = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini|__MACOSX\/.*|\.git\/.*|\.cache\/.*|\.ipynb_checkpoints\/.*)$/;
const HEADER_LIMIT = 25e6;
let chosen = [];       // {path, file, notes: [text], problem}
let request = null;

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let amount = bytes / 1000, unit = 0;
  while (amount >= 999.5 && unit < 2) { amount /= 1000; unit += 1; }
  return `${amount.toPrecision(3).replace(/\.?0+$/, "")} ${units[unit]}`;
}

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
    chosen.push({ path: item.path, file: item.file, notes: [], problem: "" });
  }
  chosen.sort((a, b) => a.path.localeCompare(b.path));
  if (isNew && folder && !form.elements.name.value) form.elements.name.value = folder.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-._]+|[-.]+$/g, "");
  say("");
  draw();
  await Promise.all(chosen.map(check));
  draw();
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

/* ----- checks before a byte is sent; the hub checks again ----- */

function refusal(path) {
  const suffix = (path.match(/[^/.][^/]*(\.[^./]+)$/) || ["", ""])[1].toLowerCase();
  if (rules.pickles.includes(suffix)) return "Not accepted: files of this kind can be Python pickles, and opening one can run code. Save the weights as safetensors.";
  if (rules.archives.includes(suffix)) return "Not accepted: archives are not unpacked. Send the files themselves.";
  if (rules.programs.includes(suffix)) return "Not accepted: programs and pages that can run code are not hosted.";
  if (rules.others.includes(suffix)) return "Not accepted: weights must be safetensors, as PEFT writes them.";
  return "";
}

async function check(item) {
  if (item.notes.length || item.problem) return;
  item.problem = refusal(item.path);
  if (item.problem) return;
  try {
    if (item.path === rules.config) await checkConfig(item);
    else if (item.path.endsWith(".safetensors")) await checkWeights(item);
  } catch {
    item.problem = "The browser could not read this file. Choose it once more.";
  }
}

async function checkConfig(item) {
  let config;
  try { config = JSON.parse(await item.file.text()); } catch { item.problem = "This is not valid JSON."; return; }
  if (!config || typeof config !== "object" || !config.peft_type) { item.problem = "This is not the config of a PEFT adapter: it names no peft_type."; return; }
  item.notes.push(`PEFT ${config.peft_type}`);
  if (config.r) item.notes.push(`rank ${config.r}`);
  if (config.base_model_name_or_path) item.notes.push(`for ${config.base_model_name_or_path}`);
}

async function checkWeights(item) {
  const { file } = item;
  if (file.size > rules.maxWeights) { item.problem = `This file has ${size(file.size)}; at most ${size(rules.maxWeights)} are taken.`; return; }
  const broken = "This is not a sound safetensors file: it is cut off, or something else. Save it again.";
  if (file.size < 10) { item.problem = broken; return; }
  const length = Number(new DataView(await file.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  if (length > file.size - 8) { item.problem = broken; return; }
  if (length > HEADER_LIMIT) return;
  let header;
  try { header = JSON.parse(await file.slice(8, 8 + length).text()); } catch { item.problem = broken; return; }
  const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__");
  const end = Math.max(0, ...tensors.map(([, t]) => (t.data_offsets || [0, 0])[1]));
  if (8 + length + end !== file.size) { item.problem = broken; return; }
  item.notes.push("header is sound", `${tensors.length} tensors`);
}

function missing() {
  const names = chosen.map(f => f.path);
  if (!isNew || !names.length) return "";
  if (names.includes(rules.weights) && !names.includes(rules.config)) return `${rules.config} is missing. PEFT writes it beside the weights; add it.`;
  if (!names.includes(rules.weights) && names.includes(rules.config)) return `${rules.weights} is missing. PEFT writes it beside the config; add it.`;
  return "";
}

/* ----- what the page shows ----- */

function draw() {
  list.replaceChildren(...chosen.map(item => {
    const body = make("div", "", make("b", "", item.path));
    if (item.problem) {
      body.append(make("p", "error", item.problem));
    } else if (item.notes.length) {
      body.append(make("ul", "checks", ...item.notes.map(note => make("li", "", icon("check"), ` ${note}`))));
    }
    const out = make("button", "btn mini", item.problem ? "Leave it out" : "Remove");
    out.type = "button";
    out.setAttribute("aria-label", `${out.textContent}: ${item.path}`);
    out.addEventListener("click", () => { chosen = chosen.filter(f => f !== item); say(""); draw(); });
    const right = make("span", "end-cell", make("span", "num small muted", size(item.file.size)), out);
    return make("div", item.problem ? "filerow bad" : "filerow", icon(item.problem ? "alert" : "file"), body, right);
  }));
  const lack = missing();
  if (lack) list.append(make("p", "error", icon("alert"), ` ${lack}`));
}

function say(text) {
  alertBox.replaceChildren(...(text ? [make("p", "error", icon("alert"), ` ${text}`)] : []));
  document.getElementById("choose-again")?.remove();
}

function sayAt(name, text) {
  const input = form.elements[name];
  const id = `${input.id}_error`;
  document.getElementById(id)?.remove();
  input.toggleAttribute("aria-invalid", false);
  if (!text) return;
  const note = make("p", "error", icon("alert"), ` ${text}`);
  note.id = id;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", id);
  input.closest(".field").append(note);
  input.focus();
}

/* ----- sending ----- */

function fieldsToSend() {
  const data = new FormData();
  for (const [name, value] of new FormData(form)) if (name !== "files") data.append(name, value);
  for (const item of chosen) {
    data.append("paths", item.path);
    data.append("files", item.file, item.path.split("/").pop());
  }
  return data;
}

function busy(on) {
  document.getElementById("progress").hidden = !on;
  document.getElementById("stop").hidden = !on;
  document.getElementById("send").disabled = on;
}

function progress(event, started) {
  const bar = document.getElementById("progress-bar"), text = document.getElementById("progress-text");
  if (!event.lengthComputable) return;
  bar.value = Math.round(100 * event.loaded / event.total);
  const speed = event.loaded / Math.max(0.5, (Date.now() - started) / 1000);
  const left = Math.round((event.total - event.loaded) / speed);
  text.textContent = event.loaded < event.total
    ? `${size(event.loaded)} of ${size(event.total)}${left > 1 ? `, ${left} s left` : ""}`
    : "All bytes are there. The hub is checking them.";
}

function send() {
  const started = Date.now();
  request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.upload.addEventListener("progress", event => progress(event, started));
  request.addEventListener("load", finished);
  request.addEventListener("error", () => { busy(false); say("The connection broke, and nothing was stored. Press the button to send it again."); });
  request.addEventListener("abort", () => { busy(false); say("Stopped. Nothing was stored."); });
  busy(true);
  request.send(fieldsToSend());
}

function finished() {
  let answer = null;
  try { answer = JSON.parse(request.responseText); } catch { /* not from us: a proxy's page */ }
  if (request.status === 201 && answer) { location.assign(answer.location); return; }
  busy(false);
  if (request.status === 401) { say("You are not logged in any more. Log in in another tab, then send it again."); return; }
  const error = answer?.error;
  if (!error) { say(`The hub answered with status ${request.status}, and nothing was stored. Try again in a minute.`); return; }
  const place = isNew && ["name", "tags"].find(name => error.fields?.[name]);
  if (place) sayAt(place, error.message); else say(error.message);
}

function problem() {
  const removes = form.querySelectorAll("[name=deletions]:checked").length;
  if (!chosen.length && !removes) return "Choose at least one file.";
  if (chosen.length > rules.maxFiles) return `These are ${chosen.length} files; a revision holds at most ${rules.maxFiles}. Leave out checkpoints and caches.`;
  const bad = chosen.find(f => f.problem);
  if (bad) return `${bad.path} is not accepted. Leave it out, then send the rest.`;
  return missing();
}

form.addEventListener("submit", event => {
  event.preventDefault();
  say("");
  if (isNew) { sayAt("tags", ""); sayAt("name", ""); }
  const text = problem();
  if (text) { say(text); alertBox.scrollIntoView({ block: "center" }); return; }
  if (isNew && !form.elements.name.value.trim()) { sayAt("name", "Give it a name."); return; }
  send();
});
document.getElementById("stop").addEventListener("click", () => request?.abort());
addEventListener("beforeunload", event => { if (request && request.readyState > 0 && request.readyState < 4) event.preventDefault(); });

for (const input of form.querySelectorAll("input[type=file]")) {
  input.addEventListener("change", () => {
    add(Array.from(input.files, file => ({ path: file.webkitRelativePath || file.name, file })));
    input.value = "";
  });
}
zone.addEventListener("click", event => {
  const button = event.target.closest("[data-pick]");
  if (button) document.getElementById(button.dataset.pick).click();
});
for (const name of ["dragenter", "dragover"]) addEventListener(name, event => { event.preventDefault(); zone.classList.add("over"); });
for (const name of ["dragleave", "drop"]) addEventListener(name, event => { if (name === "drop" || !event.relatedTarget) zone.classList.remove("over"); });
addEventListener("drop", async event => {
  event.preventDefault();
  const files = Array.from(event.dataTransfer.files, file => ({ path: file.name, file }));
  const entries = Array.from(event.dataTransfer.items, item => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) found.push(...await walk(entry, ""));
  if (!entries.length) found.push(...files);
  if (found.length) await add(found);
});

zone.hidden = false;
document.getElementById("plain-inputs").hidden = true;
