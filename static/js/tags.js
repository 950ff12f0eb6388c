/* A field of tags, separated by commas: suggests tags in use for the one that is being typed, also by other words for them. */
import { make } from "./dom.js";

function setUp(input) {
  const list = make("ul", { class: "suggestions", role: "listbox", id: `${input.id}_tags`, "aria-label": "Suggestions", hidden: "" });
  input.after(list);
  for (const [name, value] of Object.entries({ role: "combobox", autocomplete: "off", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id })) input.setAttribute(name, value);
  let asked = null, active = -1;

  function typed() {
    const start = input.value.lastIndexOf(",", input.selectionStart - 1) + 1;
    const end = input.value.indexOf(",", input.selectionStart);
    return { start, end: end < 0 ? input.value.length : end, text: input.value.slice(start, end < 0 ? undefined : end).trim() };
  }

  function close() {
    asked?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function mark(index) {
    const options = [...list.children];
    active = (index + options.length) % options.length;
    options.forEach((option, at) => option.setAttribute("aria-selected", String(at === active)));
    input.setAttribute("aria-activedescendant", options[active].id);
    options[active].scrollIntoView({ block: "nearest" });
  }

  function take(tag) {
    const { start, end } = typed();
    const before = input.value.slice(0, start), after = input.value.slice(end);
    input.value = `${before}${start ? " " : ""}${tag}${after || ", "}`;
    const at = before.length + (start ? 1 : 0) + tag.length + (after ? 0 : 2);
    input.setSelectionRange(at, at);
    close();
  }

  async function suggest() {
    const { text } = typed();
    asked?.abort();
    if (!text) { close(); return; }
    asked = new AbortController();
    let found;
    try {
      found = await (await fetch(`/adapters/tags?q=${encodeURIComponent(text)}`, { signal: asked.signal })).json();
    } catch { return; }  // suggestions are a help; without them the field works as it is
    const chosen = new Set(input.value.toLowerCase().split(",").map(tag => tag.trim()));
    const tags = found.tags.filter(({ tag }) => tag === text.toLowerCase() || !chosen.has(tag));
    if (!tags.length || document.activeElement !== input) { close(); return; }
    list.replaceChildren(...tags.map(({ tag, adapters }, index) => {
      const option = make("li", { role: "option", id: `${list.id}_${index}`, "aria-selected": "false" }, make("span", {}, tag), make("span", { class: "n" }, String(adapters)));
      option.addEventListener("mousedown", event => { event.preventDefault(); take(tag); });
      return option;
    }));
    active = -1;
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    input.removeAttribute("aria-activedescendant");
  }

  input.addEventListener("input", suggest);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", event => {
    if (list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") mark(active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1));
    else if (event.key === "Enter" && active >= 0) take(list.children[active].firstChild.textContent);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
}

document.querySelectorAll("input[name=tags]").forEach(setUp);
