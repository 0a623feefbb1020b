"use strict";
// The page of `zoo demo`: sends the form as JSON, and draws each part of the answer as its line comes in.

const form = document.getElementById("form");
const answer = document.getElementById("answer");
const state = document.getElementById("status");
const images = new Map(); // name of a question -> function that gives its file, or null
let running = null; // an AbortController

function make(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in found && name !== "width") found[name] = value;
    else found.setAttribute(name, value);
  }
  found.append(...children);
  return found;
}

const percent = (fraction) => `${(100 * fraction).toFixed(1)}%`;

// A token with what has no shape written out.
function visible(token) {
  const named = { "\n": "⏎", " ": "␣", "\t": "⇥" };
  const code = (one) => named[one] || `U+${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  return token.replace(/[\u0000-\u0020\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202e]/g, code) || "(nothing)";
}

// Parts of an answer ---------------------------------------------------------------------------------------------

const draw = {
  bars(part) {
    const rows = part.rows.map(([label, fraction]) => {
      const bar = make("div");
      bar.style.width = `${100 * fraction}%`;
      return make("tr", {}, make("th", { scope: "row" }, make("div", {}, label || "(empty)")),
        make("td", {}, make("div", { className: "bar", ariaHidden: "true" }, bar)),
        make("td", { className: "number" }, percent(fraction)));
    });
    return section(part.title, make("table", { className: "bars" }, make("tbody", {}, ...rows)));
  },
  text(part) {
    return section(part.title, make("p", { className: "text" }, part.text));
  },
  note(part) {
    return make("p", { className: "note" }, part.text);
  },
  picture(part) {
    const image = make("img", { src: part.pixels, alt: part.title, className: "picture" });
    image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth < 130));
    const legend = part.legend.map(([label, colour, share]) => {
      const swatch = make("span", { className: "swatch" });
      if (colour) swatch.style.background = colour;
      return make("li", {}, swatch, `${label}: ${percent(share)}${colour ? "" : " (not tinted)"}`);
    });
    return section(part.title, image, ...(legend.length ? [make("ul", { className: "legend" }, ...legend)] : []));
  },
  grid(part) {
    const head = part.columns.map((name) => make("th", { scope: "col", title: name }, part.numbers ? name : visible(name)));
    const rows = part.rows.map((name, row) => make("tr", {},
      make("th", { scope: "row", title: name }, part.numbers ? name : visible(name)),
      ...part.columns.map((column, place) => {
        const value = part.values[row][place];
        const shade = Math.max(0, Math.min(1, value));
        const cell = make("td", { title: `${name}, ${column}: ${value.toFixed(3)}` });
        if (part.numbers) cell.textContent = value.toFixed(2);
        cell.style.background = `color-mix(in srgb, var(--bar) ${Math.round(100 * shade * (part.numbers ? 0.45 : 1))}%, var(--wash))`;
        return cell;
      })));
    const table = make("table", { className: part.numbers ? "grid numbers" : "grid" },
      make("thead", {}, make("tr", {}, make("td"), ...head)), make("tbody", {}, ...rows));
    const wide = make("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: part.title }, table);
    return section(part.title, make("p", { className: "muted" }, part.caption), wide);
  },
};

function section(title, ...children) {
  return make("section", {}, make("h3", {}, title), ...children);
}

// Tokens come one by one: the text grows, and each adds a row to a table below it.
function drawToken(part, kept) {
  if (!kept.text) {
    kept.text = make("p", { className: "text", ariaLive: "off" });
    kept.rows = make("tbody");
    const names = ["Token", "Probability", "Likeliest"].map((name) => make("th", { scope: "col" }, name));
    answer.append(section("What comes next", kept.text), section("Token by token",
      make("table", { className: "tokens", ariaLive: "off" }, make("thead", {}, make("tr", {}, ...names)), kept.rows)));
  }
  kept.text.textContent = part.text;
  const others = part.others.map(([token, fraction]) =>
    make("span", { className: "likely" }, make("code", {}, visible(token)), ` ${percent(fraction)}`));
  kept.rows.append(make("tr", {}, make("td", {}, make("code", {}, visible(part.token))),
    make("td", {}, percent(part.probability)), make("td", { className: "muted" }, ...others.flatMap((one) => [one, " "]))));
}

// Asking -------------------------------------------------------------------------------------------------------

async function base64(file) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
  return url.slice(url.indexOf(",") + 1);
}

async function values() {
  const found = {};
  for (const field of form.querySelectorAll("[name]")) {
    if (field.type === "file") {
      const file = await images.get(field.name)();
      found[field.name] = file ? await base64(file) : "";
    } else found[field.name] = field.value;
  }
  return found;
}

function fail(text) {
  answer.append(make("p", { className: "error", role: "alert" }, text));
}

async function ask() {
  if (running) running.abort();
  const mine = (running = new AbortController());
  state.textContent = "Working…";
  answer.setAttribute("aria-busy", "true");
  const begin = performance.now();
  const kept = {};
  let first = true;
  const show = (part) => {
    if (first) answer.replaceChildren();
    first = false;
    if (part.kind === "error") fail(part.text);
    else if (part.kind === "token") drawToken(part, kept);
    else if (draw[part.kind]) answer.append(draw[part.kind](part));
  };
  let said = "";
  try {
    const response = await fetch("answer", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(await values()), signal: mine.signal,
    });
    if (!response.ok) {
      const text = (await response.json().catch(() => ({}))).error;
      show({ kind: "error", text: text || `The server answered ${response.status}.` });
    } else {
      let rest = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) show(JSON.parse(line));
      }
      said = `Answered in ${((performance.now() - begin) / 1000).toFixed(2)} s.`;
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    show({ kind: "error", text: error instanceof TypeError ? "The server does not answer. Is zoo demo still running?" : error.message });
  }
  if (running !== mine) return;
  running = null;
  state.textContent = said;
  answer.removeAttribute("aria-busy");
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
});
for (const button of form.querySelectorAll(".insert")) {
  button.addEventListener("click", () => {
    const field = button.parentElement.querySelector("textarea");
    field.setRangeText(button.dataset.text, field.selectionStart, field.selectionEnd, "end");
    field.focus();
  });
}

// Images: a file, an example or a drawing, whichever came last ---------------------------------------------------

function prepareImage(question) {
  const input = question.querySelector("input[type=file]");
  const chosen = question.querySelector(".chosen");
  let source = () => null;
  images.set(input.name, () => source());

  function take(file, pad) {
    URL.revokeObjectURL(chosen.src);
    source = () => file;
    chosen.hidden = !file;
    if (file) chosen.src = URL.createObjectURL(file);
    if (pad) pad.wipe();
    if (file) ask();
  }

  const pad = question.querySelector("canvas") && preparePad(question, () => {
    if (chosen.src) URL.revokeObjectURL(chosen.src);
    chosen.hidden = true;
    input.value = "";
    source = () => pad.file();
  });
  chosen.addEventListener("load", () => chosen.classList.toggle("pixels", chosen.naturalWidth < 130));
  chosen.addEventListener("error", () => { chosen.hidden = true; });
  input.addEventListener("change", () => { if (input.files[0]) take(input.files[0], pad); });
  for (const button of question.querySelectorAll(".example")) {
    const image = button.querySelector("img");
    image.classList.toggle("pixels", image.naturalWidth < 130);
    button.addEventListener("click", () => {
      const data = atob(image.src.slice(image.src.indexOf(",") + 1));
      input.value = "";
      take(new Blob([Uint8Array.from(data, (one) => one.charCodeAt(0))], { type: "image/png" }), pad);
    });
  }
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      question.classList.toggle("over", name === "dragover");
      const file = name === "drop" && event.dataTransfer.files[0];
      if (file) take(file, pad);
    });
  }
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (file) take(file, pad);
  });
}

// A pad to draw on: white on black; what is sent is the square around the strokes.
function preparePad(question, begun) {
  const canvas = question.querySelector("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [fit, invert] = [".fit", ".invert"].map((name) => question.querySelector(name));
  const pen = { x: canvas.width / 2, y: canvas.height / 2, down: false };
  let timer = 0;
  Object.assign(context, { lineWidth: 26, lineCap: "round", lineJoin: "round", strokeStyle: "#fff", fillStyle: "#fff" });

  function stroke(x, y) {
    context.beginPath();
    context.moveTo(pen.x, pen.y);
    context.lineTo(x, y);
    context.stroke();
    begun();
    clearTimeout(timer);
    timer = setTimeout(ask, 500); // an answer after each stroke
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    [pen.x, pen.y] = place(event);
    pen.drawing = true;
    stroke(pen.x, pen.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pen.drawing) return;
    const [x, y] = place(event);
    stroke(x, y);
    [pen.x, pen.y] = [x, y];
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { pen.drawing = false; });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-14, 0], ArrowRight: [14, 0], ArrowUp: [0, -14], ArrowDown: [0, 14] }[event.key];
    if (step) {
      const x = Math.min(canvas.width, Math.max(0, pen.x + step[0]));
      const y = Math.min(canvas.height, Math.max(0, pen.y + step[1]));
      if (pen.down) stroke(x, y);
      [pen.x, pen.y] = [x, y];
      state.textContent = `Pen ${pen.down ? "down" : "up"} at ${Math.round(x)}, ${Math.round(y)}.`;
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) stroke(pen.x, pen.y);
      state.textContent = pen.down ? "Pen down." : "Pen up.";
    } else if (event.key === "Delete") clear();
    else return;
    event.preventDefault();
  });
  function wipe() {
    clearTimeout(timer);
    context.clearRect(0, 0, canvas.width, canvas.height);
  }
  function clear() {
    wipe();
    begun();
    answer.replaceChildren();
    state.textContent = "";
  }
  question.querySelector(".clear").addEventListener("click", clear);
  for (const box of [fit, invert]) box.addEventListener("change", () => { if (ink()) ask(); });

  // The box [left, top, width, height] of what is drawn; null where nothing is.
  function ink() {
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (data[4 * (y * width + x) + 3] > 32) {
          [left, right] = [Math.min(left, x), Math.max(right, x)];
          [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
        }
      }
    }
    return right < 0 ? null : [left, top, right - left + 1, bottom - top + 1];
  }
  function file() {
    const box = ink();
    if (!box) return null;
    let side = canvas.width;
    let [x, y] = [0, 0];
    if (fit.checked) {
      side = Math.max(box[2], box[3], canvas.width / 4);
      [x, y] = [box[0] + (box[2] - side) / 2, box[1] + (box[3] - side) / 2];
    }
    const sent = make("canvas");
    sent.width = sent.height = canvas.width;
    const to = sent.getContext("2d");
    to.fillStyle = "#000";
    to.fillRect(0, 0, sent.width, sent.height);
    to.drawImage(canvas, x, y, side, side, 0, 0, sent.width, sent.height);
    if (invert.checked) {
      to.globalCompositeOperation = "difference";
      to.fillStyle = "#fff";
      to.fillRect(0, 0, sent.width, sent.height);
    }
    return new Promise((resolve) => sent.toBlob(resolve, "image/png"));
  }
  return { file, wipe };
}

for (const question of form.querySelectorAll(".as-image")) prepareImage(question);
