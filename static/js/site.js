/* On every page: theme toggle, copy buttons, menus that close, keys. */
"use strict";

const root = document.documentElement;

function reveal(scope) {
  scope.querySelectorAll("[data-theme-toggle], [data-copy], [data-keys-toggle]").forEach(button => { button.hidden = false; });
}

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not remembered, still applied */ }
}

async function copy(button) {
  const text = button.parentElement.querySelector("pre").innerText.trimEnd();
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector("pre"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    label.textContent = "Selected";
  }
  setTimeout(() => { label.textContent = ""; }, 2000);
}

document.addEventListener("click", event => {
  const button = event.target.closest("[data-copy], [data-theme-toggle]");
  if (button && "copy" in button.dataset) copy(button);
  if (button && "themeToggle" in button.dataset) toggleTheme();
  document.querySelectorAll("details.account[open], details.menu[open]").forEach(menu => {
    if (!menu.contains(event.target)) menu.open = false;
  });
});

document.addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  document.querySelectorAll("details.account[open], details.menu[open]").forEach(menu => {
    menu.open = false;
    menu.querySelector("summary").focus();
  });
});

/* The slash goes to the search box, unless somebody turned that off; arrows go from there through the results. */
function hasKeys() {
  try { return localStorage.getItem("keys") !== "off"; } catch { return true; }
}

function showKeys() {
  document.querySelectorAll("[data-keys-toggle]").forEach(button => { button.textContent = hasKeys() ? "Key / goes to the search: turn off" : "Key / goes to the search: turn on"; });
  document.querySelectorAll(".topbar .search input").forEach(input => hasKeys() ? input.setAttribute("aria-keyshortcuts", "/") : input.removeAttribute("aria-keyshortcuts"));
}

document.addEventListener("click", event => {
  if (!event.target.closest("[data-keys-toggle]")) return;
  try { localStorage.setItem("keys", hasKeys() ? "off" : "on"); } catch { /* not remembered */ }
  showKeys();
});

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const writes = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !writes && hasKeys()) {
    const input = [...document.querySelectorAll("main .search input, .topbar .search input")].find(one => one.checkVisibility());
    if (!input) return;
    event.preventDefault();
    input.focus();
    input.select();
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = [...document.querySelectorAll(".list .row h3 a")], at = links.indexOf(event.target);
  if (at < 0 && !(event.key === "ArrowDown" && event.target.matches(".search input"))) return;
  const next = links[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

reveal(document);
showKeys();
document.addEventListener("htmx:load", event => reveal(event.detail.elt));
