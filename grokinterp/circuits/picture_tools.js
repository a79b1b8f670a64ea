"use strict";
// What every picture of a page has: elements to draw it with, and buttons below it that enlarge it
// and save it. A picture is a <figure>; a saved one holds what is on the screen, on white.
const pictures = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function element(parent, tag, attributes = {}, text = "") {
    const svg = parent.namespaceURI.endsWith("svg") || tag === "svg";
    const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return parent.appendChild(made);
  }

  // What steers a picture, and what stands beside it, is no part of it.
  const LEFT_OUT = "figcaption, .slider, .below, .tools, .readout, .cursor, details, script";
  const PAINT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin", "opacity", "visibility",
    "font-family", "font-size", "font-weight", "text-anchor"];
  const MARGIN = 12, TITLE = 26;

  const titleOf = (figure) => [figure.dataset.title ?? figure.querySelector("h3").textContent, figure.querySelector(".slider output")?.textContent]
    .filter(Boolean).join(", ");

  // The lines that a text is broken into, each with its place.
  function linesOf(text) {
    const lines = [], range = document.createRange();
    for (const { 0: word, index } of text.data.matchAll(/\S+/g)) {
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      const box = range.getBoundingClientRect(), line = lines.at(-1);
      if (line && Math.abs(line.box.top - box.top) < 2) line.words += ` ${word}`;
      else if (box.width) lines.push({ words: word, box });
    }
    return lines;
  }

  function copyNode(node, into) {
    if (node.nodeType === Node.TEXT_NODE) {
      const style = getComputedStyle(node.parentNode), size = parseFloat(style.fontSize);
      for (const { words, box } of linesOf(node)) {
        element(into, "text", {
          // A third of its size below the middle of its line is where a text stands.
          x: box.left, y: (box.top + box.bottom) / 2 + size * 0.35, fill: style.color,
          "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight,
        }, words);
      }
    }
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(LEFT_OUT)) return;
    const style = getComputedStyle(node), { left, top, right, bottom, width, height } = node.getBoundingClientRect();
    if (style.display === "none" || style.visibility === "hidden") return;
    if (node.localName === "canvas") {
      if (node.width && node.height) element(into, "image", {
        x: left, y: top, width, height, href: node.toDataURL(), preserveAspectRatio: "none", style: `image-rendering: ${style.imageRendering}`,
      });
      return;
    }
    if (node.localName === "svg") {
      const copy = into.appendChild(node.cloneNode(true)), copies = copy.querySelectorAll("*");
      node.querySelectorAll("*").forEach((one, i) => {
        const painted = getComputedStyle(one);
        for (const name of PAINT) copies[i].setAttribute(name, painted.getPropertyValue(name));
        copies[i].removeAttribute("class");
      });
      for (const [name, value] of Object.entries({ x: left, y: top, width, height, overflow: "visible" })) copy.setAttribute(name, value);
      for (const name of ["class", "role", "tabindex"]) copy.removeAttribute(name);
      return;
    }
    if (style.backgroundColor !== "rgba(0, 0, 0, 0)") element(into, "rect", { x: left, y: top, width, height, fill: style.backgroundColor });
    for (const [side, x1, y1, x2, y2] of [["Top", left, top, right, top], ["Bottom", left, bottom, right, bottom], ["Left", left, top, left, bottom], ["Right", right, top, right, bottom]]) {
      const line = parseFloat(style[`border${side}Width`]);
      if (line) element(into, "line", { x1, y1, x2, y2, stroke: style[`border${side}Color`], "stroke-width": line });
    }
    // What is positioned lies over what is not.
    const layer = (child) => {
      const { position, zIndex } = child.nodeType === Node.ELEMENT_NODE ? getComputedStyle(child) : { position: "static" };
      return position === "static" ? -1 : Number(zIndex) || 0;
    };
    [...node.childNodes].sort((one, other) => layer(one) - layer(other)).forEach((child) => copyNode(child, into));
  }

  // A picture as an SVG of its own: [its text, its width, its height].
  function toSvg(figure) {
    const svg = document.createElementNS(SVG, "svg"), scheme = figure.style.colorScheme;
    svg.setAttribute("xmlns", SVG);
    document.body.append(svg);
    Object.assign(svg.style, { position: "absolute", visibility: "hidden" });
    try {
      figure.style.colorScheme = "light";
      const paper = element(svg, "rect", { fill: "#ffffff" }), content = element(svg, "g");
      figure.childNodes.forEach((child) => copyNode(child, content));
      const box = content.getBBox(), x = box.x - MARGIN, y = box.y - MARGIN - TITLE;
      const title = { x: box.x, y: y + MARGIN + 8, "font-family": "system-ui, sans-serif", "font-size": 15, "font-weight": 600, fill: "#1c1c1c" };
      const heading = element(svg, "text", title, titleOf(figure));
      const width = Math.ceil(Math.max(box.width, heading.getComputedTextLength()) + 2 * MARGIN), height = Math.ceil(box.height + 2 * MARGIN + TITLE);
      for (const [name, value] of Object.entries({ x, y, width, height })) paper.setAttribute(name, value);
      for (const [name, value] of Object.entries({ viewBox: `${x} ${y} ${width} ${height}`, width, height })) svg.setAttribute(name, value);
      svg.removeAttribute("style");
      return [new XMLSerializer().serializeToString(svg), width, height];
    } finally {
      figure.style.colorScheme = scheme;
      svg.remove();
    }
  }

  async function toPng([svg, width, height]) {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await new Promise((done, fail) => Object.assign(image, { onload: done, onerror: fail }));
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  function save(figure, kind, content) {
    const place = figure.closest("[id]")?.id ?? "", words = `${place} ${titleOf(figure)}`.toLowerCase();
    const link = document.createElement("a");
    link.download = `${words.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}.${kind}`;
    link.href = URL.createObjectURL(content);
    link.click();
    // Not at once, or there would be nothing to save yet.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  // The picture itself moves into a window over the page, where it works as before, and back.
  function enlarge(figure) {
    const dialog = element(document.body, "dialog", { class: "enlarged", "aria-label": titleOf(figure) });
    const bar = element(dialog, "p");
    const label = element(bar, "label", {}, "zoom ");
    const zoom = element(label, "input", { type: "range", min: 1, max: 6, step: 0.25, "aria-label": "zoom" });
    const times = element(bar, "output");
    const close = element(bar, "button", { type: "button" }, "Close");
    const place = document.createElement("div");
    place.style.height = `${figure.offsetHeight}px`;
    figure.replaceWith(place);
    element(dialog, "div", { class: "zoomed" }).append(figure);
    function magnify() {
      times.textContent = `${Number(zoom.value)}×`;
      dialog.style.setProperty("--zoom", zoom.value);
    }
    zoom.addEventListener("input", magnify);
    // On a phone the page is as wide as the window already.
    zoom.value = innerWidth < 500 ? 2 : 1;
    magnify();
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      place.replaceWith(figure);
      dialog.remove();
      figure.querySelector(".tools button").focus();
    });
    dialog.showModal();
  }

  // `vector` gives the SVG of a picture that is one already.
  function addTools(figure, vector = () => toSvg(figure)) {
    const tools = element(figure, "p", { class: "tools" });
    const does = {
      Enlarge: () => enlarge(figure),
      PNG: async () => save(figure, "png", await toPng(await vector())),
      SVG: async () => save(figure, "svg", new Blob([(await vector())[0]], { type: "image/svg+xml" })),
    };
    for (const [name, act] of Object.entries(does)) {
      const what = name === "Enlarge" ? name : `Save as ${name}`;
      element(tools, "button", { type: "button", "aria-label": `${what}: ${titleOf(figure)}`, title: what }, name).addEventListener("click", act);
    }
  }

  return { element, addTools, enlarge };
})();
