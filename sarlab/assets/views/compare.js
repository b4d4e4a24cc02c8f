// Before/after slider. Without this script the pictures stand side by side; with it they lie on top of each other.
(() => {
  const start = (root) => {
    const stage = root.querySelector(".sl-stage");
    const range = root.querySelector("input[type=range]");
    const layers = [...root.querySelectorAll(".sl-layer")].slice(1);
    const facts = [...root.querySelectorAll(".sl-facts")];
    const tag = root.querySelector(".sl-tag-right");
    const difference = root.querySelector(".sl-difference");

    const cut = () => {
      stage.style.setProperty("--sl-cut", range.value + "%");
      range.setAttribute("aria-valuetext", `original on the left ${range.value} % of the picture`);
    };
    const choose = (index) => {
      layers.forEach((layer, i) => { layer.hidden = i !== index; });
      facts.forEach((fact, i) => { fact.hidden = i !== index; });
      tag.textContent = layers[index].dataset.label;
    };
    const drag = (event) => {
      const box = stage.getBoundingClientRect();
      range.value = Math.round(100 * (event.clientX - box.left) / box.width);
      cut();
    };

    range.addEventListener("input", cut);
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      stage.setPointerCapture(event.pointerId);
      range.focus({ preventScroll: true });
      drag(event);
    });
    stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    root.querySelectorAll("input[type=radio]").forEach((radio) => {
      radio.addEventListener("change", () => choose(Number(radio.value)));
      if (radio.checked) choose(Number(radio.value));
    });
    difference.addEventListener("change", () => { root.toggleAttribute("data-difference", difference.checked); });
    cut();
    root.setAttribute("data-ready", "");
  };
  const all = () => document.querySelectorAll(".sl-compare:not([data-ready])").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
