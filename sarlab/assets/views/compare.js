// Pictures of one place under one view: a border between two of them, or the two side by side.
// Without this script all pictures stand side by side; with it two canvases share one zoom and one corner.
(() => {
  "use strict";
  const MOST = 16; // largest zoom
  const NEAR = 24; // pixels from the border within which a pointer takes hold of it

  const start = (root) => {
    const find = (selector) => root.querySelector(selector);
    const every = (selector) => [...root.querySelectorAll(selector)];
    const data = JSON.parse(find("script[type='application/json']").textContent);
    const stage = find(".sl-stage"), range = find(".sl-border"), zoomed = find(".sl-zoomed");
    const layers = every(".sl-layer"), facts = every(".sl-facts"), images = layers.map((layer) => layer.querySelector("img"));
    const view = { u: 0, v: 0, s: 1 }; // left and top as shares of the picture, zoom
    const panes = every(".sl-pane"), tags = panes.map((pane) => pane.querySelector(".sl-tag"));
    const sides = every(".sl-side").map((box) => ({
      what: box.querySelector(".sl-what"), step: box.querySelector(".sl-step"), error: box.querySelector(".sl-error"),
    }));
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    const paired = () => root.hasAttribute("data-pair");

    // --- which pictures -------------------------------------------------------------------------------------------

    // data.table[series][step] is the number of a picture, or null; picture 0 is the original.
    const chosen = (side) => (side.what.value === "" ? 0 : data.table[side.what.value][side.step.value] ?? 0);

    const samples = (image) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    };
    const LESS = [94, 60, 153], NONE = [247, 247, 247], MORE = [230, 97, 1];
    const draw = (canvas, index, error) => {
      const image = images[index];
      if (!image.complete || !image.naturalWidth) {
        image.addEventListener("load", show, { once: true });
        return;
      }
      const shown = samples(image);
      if (error) {
        const before = samples(images[0]).data, after = shown.data;
        for (let i = 0; i < after.length; i += 4) {
          const share = clamp(((after[i] - before[i]) / 255) * (data.clip[1] - data.clip[0]) / data.span, -1, 1);
          const end = share < 0 ? LESS : MORE;
          for (let c = 0; c < 3; c++) after[i + c] = NONE[c] + Math.abs(share) * (end[c] - NONE[c]);
        }
      }
      [canvas.width, canvas.height] = [shown.width, shown.height];
      canvas.getContext("2d").putImageData(shown, 0, 0);
    };
    const show = () => {
      const numbers = sides.map(chosen);
      sides.forEach((side, place) => {
        const index = numbers[place], original = index === 0, error = !original && side.error.checked;
        side.step.hidden = original || data.steps.length < 2;
        side.error.parentElement.hidden = original;
        for (const option of side.step.options) option.disabled = !original && data.table[side.what.value][option.value] === null;
        const label = (error ? "error of " : "") + data.labels[index];
        tags[place].textContent = label;
        const canvas = panes[place].querySelector("canvas");
        canvas.setAttribute("aria-label", label);
        draw(canvas, index, error);
      });
      facts.forEach((fact) => { fact.hidden = !numbers.includes(Number(fact.dataset.of)); });
      const steps = new Set(sides.filter((side) => side.what.value !== "").map((side) => side.step.value));
      every(".sl-choice input").forEach((radio) => { radio.checked = steps.size === 1 && steps.has(radio.value); });
    };
    // A codec that has no file at this step shows its nearest one.
    const reachable = (side) => {
      if (side.what.value === "") return;
      const row = data.table[side.what.value], at = Number(side.step.value);
      const there = [...row.keys()].filter((step) => row[step] !== null);
      side.step.value = there.reduce((best, step) => (Math.abs(step - at) < Math.abs(best - at) ? step : best), there[0]);
    };
    sides.forEach((side) => {
      side.what.addEventListener("change", () => { reachable(side); show(); });
      side.step.addEventListener("change", show);
      side.error.addEventListener("change", show);
    });
    every(".sl-choice input").forEach((radio) => radio.addEventListener("change", () => {
      sides.forEach((side) => { side.step.value = radio.value; reachable(side); });
      show();
    }));

    // --- border, zoom and pan ---------------------------------------------------------------------------------------

    const cut = (share) => {
      if (share !== undefined) range.value = Math.round(clamp(share, 0, 1) * 100);
      stage.style.setProperty("--sl-cut", range.value + "%");
      range.setAttribute("aria-valuetext", `left picture on ${range.value} % of the width`);
    };
    const look = () => {
      view.u = clamp(view.u, 0, 1 - 1 / view.s);
      view.v = clamp(view.v, 0, 1 - 1 / view.s);
      stage.style.setProperty("--sl-view", `translate(${-100 * view.u * view.s}%, ${-100 * view.v * view.s}%) scale(${view.s})`);
      stage.toggleAttribute("data-zoomed", view.s > 1);
      const text = `${Math.round(view.s * 10) / 10}×`;
      if (zoomed.textContent !== text) zoomed.textContent = text;
    };
    // Zoom by a factor, keeping the point that lies at (x, y), shares of a pane, where it is.
    const zoom = (factor, x = 0.5, y = 0.5) => {
      const s = clamp(view.s * factor, 1, MOST);
      view.u += x / view.s - x / s;
      view.v += y / view.s - y / s;
      view.s = s;
      look();
    };
    const pan = (x, y) => { view.u -= x / view.s; view.v -= y / view.s; look(); };
    const at = (event) => {
      const box = stage.getBoundingClientRect(), wide = box.width / (paired() ? 2 : 1);
      const x = event.clientX - box.left;
      return { x: (paired() && x > wide ? x - wide : x) / wide, y: (event.clientY - box.top) / box.height, wide, high: box.height };
    };

    const down = new Map();
    let held = "";
    stage.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      stage.setPointerCapture(event.pointerId);
      stage.focus({ preventScroll: true });
      const place = at(event);
      down.set(event.pointerId, place);
      const near = Math.abs(place.x - range.value / 100) * place.wide < NEAR;
      if (down.size === 1) held = !paired() && (near || view.s === 1) ? "border" : "picture";
      if (held === "border" && down.size === 1) cut(place.x);
    });
    stage.addEventListener("pointermove", (event) => {
      const before = down.get(event.pointerId), place = at(event);
      if (!before) return;
      if (down.size > 1) {
        const [, other] = [...down].find(([id]) => id !== event.pointerId);
        const far = (p) => Math.hypot((p.x - other.x) * p.wide, (p.y - other.y) * p.high);
        if (far(before) > 0) zoom(far(place) / far(before), (place.x + other.x) / 2, (place.y + other.y) / 2);
      } else if (held === "border") cut(place.x);
      else pan(place.x - before.x, place.y - before.y);
      down.set(event.pointerId, place);
    });
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => {
      down.delete(event.pointerId);
      held = "picture"; // a finger that stays after a pinch moves what was zoomed
    });
    stage.addEventListener("dragstart", (event) => event.preventDefault());
    stage.addEventListener("dblclick", (event) => { const place = at(event); zoom(2, place.x, place.y); });
    // The wheel scrolls the page until the picture was clicked; a pinch on a touchpad comes with the control key.
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== stage) return;
      event.preventDefault();
      const place = at(event);
      zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), place.x, place.y);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => {
      const [x, y] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "+" || event.key === "=") zoom(1.5);
      else if (event.key === "-") zoom(1 / 1.5);
      else if (event.key === "0") zoom(1 / MOST);
      else if (view.s > 1 && (x || y)) pan(x / 8, y / 8);
      else if (x && !paired()) cut(range.value / 100 - x / 50);
      else return;
      event.preventDefault();
    });
    range.addEventListener("input", () => cut());
    find(".sl-in").addEventListener("click", () => zoom(1.5));
    find(".sl-out").addEventListener("click", () => zoom(1 / 1.5));
    find(".sl-whole").addEventListener("click", () => zoom(1 / MOST));
    find(".sl-pair").addEventListener("change", (event) => root.toggleAttribute("data-pair", event.target.checked));

    root.setAttribute("data-ready", "");
    cut();
    look();
    show();
  };
  const all = () => document.querySelectorAll(".sl-compare:not([data-ready])").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
