"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const whole = document.getElementById("whole");
  const timed = [];

  const look = (from, to) => {
    for (const { view, end } of timed) {
      view.signal("from_s", from ?? 0).signal("to_s", to ?? end).runAsync();
    }
    whole.hidden = from === undefined;
  };

  const zoomable = (plot, view) => {
    const inset = () => view.origin()[0];
    const second = (event) => {
      const box = plot.getBoundingClientRect();
      const x = Math.min(Math.max(event.clientX - box.left - inset(), 0), view.width());
      return { x: x + inset(), s: view.scale("x").invert(x) };
    };
    plot.classList.add("zoomable");
    plot.addEventListener("dblclick", () => look());
    plot.addEventListener("pointerdown", (down) => {
      if (down.pointerType !== "mouse" || down.button !== 0) return;
      down.preventDefault();
      const from = second(down);
      const brush = plot.appendChild(Object.assign(document.createElement("div"), { className: "brush" }));
      const move = (event) => {
        const at = second(event);
        brush.style.left = `${Math.min(from.x, at.x)}px`;
        brush.style.width = `${Math.abs(from.x - at.x)}px`;
      };
      const up = (event) => {
        const to = second(event);
        brush.remove();
        window.removeEventListener("pointermove", move);
        window.removeEventListener("pointerup", up);
        if (Math.abs(from.x - to.x) > 4) look(Math.min(from.s, to.s), Math.max(from.s, to.s));
      };
      window.addEventListener("pointermove", move);
      window.addEventListener("pointerup", up);
    });
  };

  const draw = async ([name, { spec, over_time }]) => {
    const plot = document.getElementById(`plot-${name}`);
    const options = { renderer: "svg", actions: false, tooltip: { theme: "custom", disableDefaultStyle: true } };
    const { view } = await vegaEmbed(plot, spec, options);
    if (over_time) {
      timed.push({ view, end: view.signal("to_s") });
      zoomable(plot, view);
    }
    plot.dataset.drawn = "";
  };

  whole.addEventListener("click", () => look());
  Promise.all(Object.entries(specs).map(draw)).then(() => { document.body.dataset.drawn = Math.round(performance.now()); });
})();
