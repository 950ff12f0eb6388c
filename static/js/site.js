/* On every page: theme toggle, copy buttons, menus that close. */
"use strict";

const root = document.documentElement;

function reveal(scope) {
  scope.querySelectorAll("[data-theme-toggle], [data-copy]").forEach(button => { button.hidden = false; });
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

reveal(document);
document.addEventListener("htmx:load", event => reveal(event.detail.elt));
