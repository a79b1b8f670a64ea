"use strict";
// Draws the curves of a run when its row is opened, and filters the rows.
(() => {
  const { element, addTools, enlarge } = pictures;

  const count = (value) => value.toLocaleString("en-US");
  const percent = (value) => `${Number((100 * value).toFixed(2))}%`;
  const short = (value) => String(Number(value.toPrecision(4)));

  function inflate(deflated) {
    const bytes = Uint8Array.from(atob(deflated), (character) => character.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")));
  }

  async function unpack({ columns, type, deflated }) {
    const buffer = await inflate(deflated).arrayBuffer();
    const values = type === "float32" ? new Float32Array(buffer) : new Float64Array(buffer);
    const rows = values.length / columns.length;
    return Object.fromEntries(columns.map((name, i) => [name, values.subarray(i * rows, (i + 1) * rows)]));
  }

  // Round numbers, about `wanted` of them.
  function roundTicks(low, high, wanted) {
    const rough = (high - low || 1) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((times) => times * power).find((one) => one >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(tick);
    return ticks;
  }

  function decades(low, high, wanted) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const step = Math.max(1, Math.ceil((last - first + 1) / wanted));
    const ticks = [];
    for (let power = first; power <= last; power += step) ticks.push(10 ** power);
    return ticks;
  }

  const scale = (low, high, from, to, log) => {
    const place = log ? Math.log10 : (value) => value;
    const [start, end] = [place(low), place(high)];
    return (value) => from + (place(value) - start) / (end - start || 1) * (to - from);
  };

  const HEIGHT = 210, LEFT = 52, RIGHT = 10, TOP = 38, BOTTOM = 34;

  function panel(parent, kind, data, marks, logEpochs) {
    const svg = element(parent, "svg", { role: "img", tabindex: 0, height: HEIGHT,
      "aria-label": `${kind} on train and test pairs over epochs; arrow keys read the points` });
    const width = Math.max(svg.clientWidth, 240);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const epochs = data.epoch, series = ["train", "test"].map((split) => [split, data[`${split}_${kind}`]]);
    const [first, last] = [Math.max(epochs[0], 1), Math.max(epochs.at(-1), epochs[0] + 1)];
    const loss = kind === "loss";
    let [low, high] = [0, 1];
    if (loss) {
      const shown = series.flatMap(([, values]) => [...values]).filter((value) => value > 0 && Number.isFinite(value));
      [low, high] = shown.length ? [Math.min(...shown), Math.max(...shown)] : [0.1, 1];
      if (low === high) [low, high] = [low / 2, high * 2];
    }
    const x = scale(logEpochs ? first : 0, last, LEFT, width - RIGHT, logEpochs);
    const y = scale(low, high, HEIGHT - BOTTOM, TOP, loss);
    const inside = HEIGHT - BOTTOM;

    element(svg, "text", { x: 0, y: 12, class: "name" }, loss ? "loss (nats, log)" : "accuracy");
    series.forEach(([split], i) => element(svg, "text", { x: width - RIGHT - 62 + 36 * i, y: 12, class: split }, split));
    const yTicks = loss ? decades(low, high, 5) : [0, 0.25, 0.5, 0.75, 1];
    for (const tick of yTicks.length > 1 || !loss ? yTicks : [low, high]) {
      element(svg, "line", { class: "gridline", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) });
      const name = !loss ? percent(tick) : tick < 1e-2 || tick >= 1e4 ? tick.toExponential(0) : short(tick);
      element(svg, "text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, name);
    }
    for (const tick of logEpochs ? decades(first, last, 6) : roundTicks(0, last, width > 420 ? 6 : 4)) {
      element(svg, "line", { class: "gridline", x1: x(tick), x2: x(tick), y1: TOP, y2: inside });
      element(svg, "text", { x: x(tick), y: inside + 15, "text-anchor": tick === last ? "end" : "middle" }, count(tick));
    }
    element(svg, "text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "epoch");
    const events = Object.entries(marks).filter(([, epoch]) => epoch !== null);
    events.forEach(([name, epoch], i) => {
      const at = x(Math.max(epoch, logEpochs ? first : 0));
      element(svg, "line", { class: "mark", x1: at, x2: at, y1: TOP, y2: inside });
      // The earlier one's name ends where the later one's begins.
      const end = at > width - 90 || (events.length > 1 && i === 0 && at > 90);
      element(svg, "text", { x: at + (end ? -3 : 3), y: TOP - 5, "text-anchor": end ? "end" : "start" }, name);
    });
    for (const [split, values] of series) {
      const points = [];
      values.forEach((value, i) => {
        if (Number.isFinite(value) && (!loss || value > 0)) points.push(`${x(Math.max(epochs[i], logEpochs ? first : 0)).toFixed(1)},${y(value).toFixed(1)}`);
      });
      element(svg, "polyline", { class: split, points: points.join(" ") });
    }
    const at = element(svg, "line", { class: "at", y1: TOP, y2: inside, visibility: "hidden" });
    return {
      svg,
      nearest(clientX) {
        const place = clientX - svg.getBoundingClientRect().left;
        let best = 0;
        epochs.forEach((epoch, i) => {
          if (Math.abs(x(Math.max(epoch, 1)) - place) < Math.abs(x(Math.max(epochs[best], 1)) - place)) best = i;
        });
        return best;
      },
      point(i) {
        const place = x(Math.max(epochs[i], 1));
        at.setAttribute("x1", place);
        at.setAttribute("x2", place);
        at.setAttribute("visibility", "visible");
      },
    };
  }

  async function drawCurves(box) {
    const source = box.querySelector("script");
    if (!source || box.dataset.drawn) return;
    box.dataset.drawn = "yes";
    const packed = JSON.parse(source.textContent), data = await unpack(packed);
    const plots = element(box, "div", { class: "plots" });
    const below = element(box, "div", { class: "below" });
    const label = element(below, "label");
    const log = element(label, "input", { type: "checkbox" });
    label.append(" logarithmic epochs");
    const readout = element(below, "output", { "aria-live": "polite" });
    let at = 0;

    function draw() {
      plots.replaceChildren();
      const panels = ["accuracy", "loss"].map((kind) => panel(plots, kind, data, packed.marks, log.checked));
      for (const { svg, nearest } of panels) {
        const read = (i) => {
          at = Math.min(Math.max(i, 0), data.epoch.length - 1);
          panels.forEach((one) => one.point(at));
          readout.textContent = `epoch ${count(data.epoch[at])}: accuracy ${percent(data.train_accuracy[at])} train, `
            + `${percent(data.test_accuracy[at])} test; loss ${short(data.train_loss[at])} train, ${short(data.test_loss[at])} test`;
        };
        for (const name of ["pointermove", "pointerdown"]) svg.addEventListener(name, (event) => read(nearest(event.clientX)));
        svg.addEventListener("keydown", (event) => {
          const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: 50, PageDown: -50, Home: -Infinity, End: Infinity };
          if (!(event.key in steps)) return;
          event.preventDefault();
          read(at + steps[event.key]);
        });
      }
    }
    let width = box.clientWidth;
    draw();
    log.addEventListener("change", draw);
    new ResizeObserver(() => {
      if (box.clientWidth === width || !box.clientWidth) return;
      width = box.clientWidth;
      draw();
    }).observe(box);
    addTools(box);
  }

  // A figure is an SVG, which the browser draws as it draws an image from a file.
  for (const figure of document.querySelectorAll("figure.chart")) {
    const image = figure.querySelector("img"), { width, height, deflated } = JSON.parse(figure.querySelector("script").textContent);
    const svg = inflate(deflated).text();
    svg.then((text) => { image.src = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" })); });
    image.addEventListener("click", () => { if (!figure.closest("dialog")) enlarge(figure); });
    addTools(figure, async () => [await svg, width, height]);
  }
  document.querySelectorAll("figure.seeds").forEach((figure) => addTools(figure));

  // A table that is wider than its place scrolls there, with keys too, and says so.
  const measure = new ResizeObserver((seen) => {
    for (const { target } of seen) {
      const wider = target.scrollWidth > target.clientWidth + 1;
      target.classList.toggle("wider", wider);
      if (wider) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll(".scroll").forEach((box) => measure.observe(box));

  const page = document.documentElement;
  document.getElementById("scheme").addEventListener("click", () => {
    const dark = page.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    page.style.colorScheme = dark === "dark" ? "light" : "dark";
  });

  const runs = [...document.querySelectorAll("details.run")];
  for (const run of runs) {
    const draw = () => { if (run.open) run.querySelectorAll(":scope .curves").forEach(drawCurves); };
    run.addEventListener("toggle", draw);
    draw();
  }

  // A link to a run opens its row.
  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.matches("details.run")) return;
    target.hidden = false;
    target.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", openTarget);
  openTarget();

  const filter = document.getElementById("filter"), shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const run of runs) {
      const text = `${run.id} ${run.querySelector("summary").textContent} ${run.querySelector(".opened > p")?.textContent}`.toLowerCase();
      run.hidden = !words.every((word) => text.includes(word));
      left += !run.hidden;
    }
    shown.textContent = words.length ? `${left} of ${runs.length}` : "";
  });
})();
