/* The card on the upload page: written by the hub from what the form and the files say, shown before it is sent, and tags that it suggests. */
import { csrfToken, icon, make } from "./dom.js";

const FIELDS = ["name", "licence", "task", "description", "prompts"];
let form, rules, files, timer = 0, asked = 0;
let file = null;       // the README.md to send instead of the chosen one, or beside the others

export function setUpCard(theForm, theRules, chosen) {
  form = theForm;
  rules = theRules;
  files = chosen;
  for (const name of [...FIELDS, "with_card"]) form.elements[name].addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => refreshCard(files()), 500); });
}

export function cardFile() { return file; }

/* Asks for the card as it would be. Returns what is wrong with it, in a sentence, or nothing. */
export async function refreshCard(chosen) {
  clearTimeout(timer);
  if (chosen.some(item => item.problem)) return "";  // nothing leaves the browser before all files are in order
  const own = chosen.find(item => item.path === rules.card), mine = asked += 1;
  if (!chosen.length || (own ? own.text === undefined : !form.elements.with_card.checked)) { file = null; show(""); tell(""); return ""; }
  const sent = new FormData();
  for (const name of FIELDS) sent.append(name, form.elements[name].value);
  sent.append("text", own?.text ?? "");
  sent.append("config", chosen.find(item => item.path === rules.config)?.text ?? "");
  sent.append("csrfmiddlewaretoken", csrfToken(form));
  let found, answer;
  try {
    answer = await fetch("/upload/card", { method: "POST", body: sent, headers: { Accept: "application/json" } });
    found = await answer.json();
  } catch { file = null; return ""; }  // the card is a help; the files can go without it
  const wrong = answer.ok || answer.status === 401 || answer.status === 403 ? "" : found.error?.message ?? "The card could not be made.";  // who is logged out hears it of the upload
  if (mine !== asked) return wrong;
  tell(wrong);
  if (!answer.ok) { file = null; return wrong; }
  file = plain(found.text) === plain(own?.text ?? "") ? null : new File([found.text], rules.card, { type: "text/markdown" });
  show(found.html);
  chips(found.tags);
  return "";
}

/* Forms send every line break as two characters. */
function plain(text) { return text.replaceAll("\r\n", "\n"); }

function show(html) {
  document.getElementById("card-preview").hidden = !html;
  document.getElementById("card-html").innerHTML = html;  // rendered and sanitised by the hub, as on the adapter's page
}

function tell(text) {
  document.getElementById("card-error").replaceChildren(...(text ? [make("p", { class: "error" }, icon("alert"), ` ${text}`)] : []));
}

function chips(tags) {
  const box = document.getElementById("tag-chips"), field = form.elements.tags;
  const there = new Set(field.value.toLowerCase().split(",").map(tag => tag.trim()).filter(Boolean));
  const buttons = tags.filter(tag => !there.has(tag)).map(tag => {
    const button = make("button", { class: "btn mini", type: "button", "aria-label": `Add the tag ${tag}` }, icon("plus"), tag);
    button.addEventListener("click", () => {
      field.value = [...field.value.split(",").map(one => one.trim()).filter(Boolean), tag].join(", ");
      button.remove();
      box.hidden = !box.querySelector("button");
    });
    return button;
  });
  box.replaceChildren(box.firstElementChild, ...buttons);
  box.hidden = !buttons.length;
}
