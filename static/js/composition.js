/* Composition page: says each new stage to screen readers, once. htmx does the polling. */
"use strict";

document.addEventListener("htmx:afterSettle", () => {
  const say = document.getElementById("say");
  const text = document.getElementById("live").dataset.say;
  if (say.textContent !== text) say.textContent = text;
});
document.addEventListener("htmx:responseError", event => {
  if (event.detail.xhr.status === 401 || event.detail.xhr.status === 404) location.reload();
});
