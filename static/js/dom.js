/* What scripts that build parts of a page share: icons, elements, sizes in words, the token that requests carry. */

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let amount = bytes / 1000, unit = 0;
  while (amount >= 999.5 && unit < 2) { amount /= 1000; unit += 1; }
  return `${amount.toPrecision(3).replace(/\.?0+$/, "")} ${units[unit]}`;
}

/* The cookie is newer than the form where somebody has logged in again in another tab. */
export function csrfToken(form) {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] || form.elements.csrfmiddlewaretoken.value;
}
