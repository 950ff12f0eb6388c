/* Adapter list: filters start closed on a phone; links inside the results keep working as links. */
"use strict";

if (matchMedia("(max-width: 54rem)").matches) document.querySelector(".filters").open = false;
