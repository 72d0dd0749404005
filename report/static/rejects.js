"use strict";
// The page works without this script; with it items are filtered, and the arrow keys go from one to the next.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const form = document.getElementById("filters");

if (form) {
  const figures = all(".items figure");
  const texts = figures.map((figure) => figure.textContent.toLowerCase());
  const output = form.querySelector("output");
  const visible = () => figures.filter((figure) => !figure.hidden);

  const give = (figure, focus) => {
    for (const other of figures) other.tabIndex = other === figure ? 0 : -1;
    if (focus) { figure.focus(); figure.scrollIntoView({ block: "nearest" }); }
  };

  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const word = wanted.text.trim().toLowerCase();
    figures.forEach((figure, k) => {
      const fits = ["stage", "reason", "language"].every((name) => !wanted[name] || figure.dataset[name] === wanted[name]);
      figure.hidden = !(fits && texts[k].includes(word));
    });
    const left = visible();
    output.textContent = `${left.length} shown`;
    document.getElementById("none").hidden = left.length > 0;
    if (left.length) give(left[0], false);
  };

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  for (const button of all(".pick")) {
    button.addEventListener("click", () => {
      for (const name of ["stage", "reason", "language"]) form.elements[name].value = button.dataset[name];
      form.elements.text.value = "";
      apply();
      document.getElementById("sheet").scrollIntoView();
      visible()[0]?.focus({ preventScroll: true });
    });
  }

  const columns = (list) => list.filter((figure) => figure.offsetTop === list[0].offsetTop).length;
  document.querySelector(".items").addEventListener("keydown", (event) => {
    const list = visible();
    const at = list.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(list), ArrowUp: -columns(list), Home: -at, End: list.length - 1 - at }[event.key];
    if (at < 0 || step === undefined) return;
    event.preventDefault();
    give(list[Math.max(0, Math.min(list.length - 1, at + step))], true);
  });
}
