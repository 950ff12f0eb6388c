/* Pages with passkeys: shows their buttons where the browser can use them, and says what went wrong. */
"use strict";

const REASONS = {
  NotAllowedError: "Nothing was chosen, or it took too long. Try again.",
  InvalidStateError: "This key is on your account already.",
  SecurityError: "Keys work on secure addresses (https) and on localhost only.",
  NotSupportedError: "This device has no key that can be used here.",
};

function say(words) {
  const place = document.querySelector("[data-passkey-error]");
  place.querySelector("span").textContent = words;
  place.hidden = false;
}

document.addEventListener("allauth.error", event => {
  event.preventDefault();
  say(REASONS[event.detail.exception?.name] || "The key could not be used. Try again, or log in another way.");
});

document.querySelectorAll("[data-passkey]").forEach(button => { button.hidden = !window.PublicKeyCredential; });
