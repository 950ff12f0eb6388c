/* Applies the remembered choice of light or dark before the first paint. */
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* storage is closed: the system's preference holds */ }
  document.documentElement.classList.add("js");
})();
