/* Composition page: says each new stage to screen readers, once, and keeps what is unfolded, focus and scroll while the page renews itself. htmx does the polling. */
"use strict";

const kept = { unfolded: [], focus: "", isInside: false, top: 0 };

document.addEventListener("htmx:beforeSwap", event => {
  kept.unfolded = [...document.querySelectorAll("#live details[open]")].map(fold => fold.id);
  kept.focus = document.activeElement.id;
  kept.isInside = event.detail.target.contains(document.activeElement);
  kept.top = window.scrollY;
});
/* htmx brings the focus back to what has an id, but not into a list that is still folded then; what the report has no more, such as Cancel, leaves it to the report's heading; and the shorter page may have moved. */
document.addEventListener("htmx:afterSwap", () => {
  for (const id of kept.unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (kept.isInside && document.activeElement === document.body) (document.getElementById(kept.focus) || document.getElementById("h-rep"))?.focus({ preventScroll: true });
  if (window.scrollY !== kept.top) window.scrollTo({ top: kept.top, behavior: "instant" });
});

document.addEventListener("htmx:afterSettle", () => {
  const say = document.getElementById("say");
  const text = document.getElementById("live").dataset.say;
  if (say.textContent !== text) say.textContent = text;
});
document.addEventListener("htmx:responseError", event => {
  if (event.detail.xhr.status === 401 || event.detail.xhr.status === 404) location.reload();
});
