import { about, load, read } from "./@name@.js?v=@script-sum@";

const part = (id) => document.getElementById(id);
const whole = (number) => number.toLocaleString("en");
let network;
let missing = "The network is not loaded yet.";
let drawn = 0;
// The newest picture's number: what an older one becomes later is not shown.
let newest = 0;

function say(sentence, wrong = false) {
  part("status").textContent = sentence;
  part("status").classList.toggle("wrong", wrong);
}

/** Takes away what is shown of the last picture. */
function empty() {
  newest++;
  clearTimeout(drawn);
  part("bars").replaceChildren();
  part("maps").replaceChildren();
  part("time").textContent = "";
  part("seen").hidden = true;
}

/** Says why a picture has no answer. */
function fail(sentence) {
  empty();
  say(sentence, true);
}

/** Classifies a picture and shows what comes out, or why nothing does. */
function answer(picture, name) {
  newest++;
  try {
    show(picture, name);
  } catch (error) {
    fail(error.message);
  }
}

function show(picture, name) {
  if (!network) return fail(missing);
  const start = performance.now();
  const { top } = network.classify(picture, { top: 5 });
  const took = performance.now() - start;
  say(`${name}: ${top[0].name}, ${(100 * top[0].probability).toFixed(1)} %`);
  part("bars").replaceChildren(...top.map(bar));
  part("time").textContent = `${took.toFixed(1)} ms, the picture's preparation included`;
  // The next run overwrites the maps; they are drawn once the answer can be seen.
  const maps = top.slice(0, 3).map(({ index, name }) => ({ name, map: network.map(index) })).filter(({ map }) => map);
  clearTimeout(drawn);
  drawn = setTimeout(() => {
    try {
      showMaps(picture, maps);
    } catch (error) {
      say(error.message, true);
    }
  });
}

function bar({ name, probability }) {
  const item = document.createElement("li");
  item.style.setProperty("--part", `${100 * probability}%`);
  const [label, share] = [document.createElement("span"), document.createElement("span")];
  [label.textContent, share.textContent] = [name, `${(100 * probability).toFixed(2)} %`];
  share.className = "part";
  item.append(label, share);
  return item;
}

/** Decodes a file as it is to be shown, without changes of its colours, and classifies it. */
async function open(file) {
  if (!file) return;
  const own = ++newest;
  try {
    const options = { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" };
    const bitmap = await createImageBitmap(file, options);
    if (own !== newest) return;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    answer(context.getImageData(0, 0, canvas.width, canvas.height), file.name || "picture");
  } catch (error) {
    const unreadable = error instanceof DOMException;
    if (own === newest) fail(unreadable ? `${file.name}: the browser cannot read this as a picture` : error.message);
  }
}

function listen() {
  const drop = part("drop");
  for (const id of ["file", "camera"]) {
    part(id).addEventListener("change", ({ target }) => {
      open(target.files[0]);
      target.value = "";
    });
  }
  // Anywhere on the page: else the browser would leave it for the picture.
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => open(event.clipboardData.files[0]));
  part("measure").addEventListener("click", measure);
}

function layer({ name, shape, algorithm, executed }) {
  const row = document.createElement("tr");
  const cells = [name, shape?.join(" × ") ?? "", algorithm, executed ? whole(executed) : "", ""];
  cells.forEach((text, i) => {
    const cell = document.createElement(i ? "td" : "th");
    if (!i) cell.scope = "row";
    if (i > 2) cell.className = "number";
    cell.textContent = text;
    row.append(cell);
  });
  return row;
}

function measure() {
  const times = network.profile();
  const rows = part("layers").rows;
  times.forEach((time, i) => (rows[i].cells[4].textContent = time.toFixed(3)));
  say(`One picture takes ${times.reduce((a, b) => a + b, 0).toFixed(2)} ms on one thread.`);
}

async function start() {
  const began = performance.now();
  // Compiled while the page is made.
  const loading = load();
  const { input, bytes, layers } = about;
  const code = Math.round((bytes.module - bytes.parameters) / 1000);
  part("about").textContent =
    `Takes ${input.shape.join(" × ")} and runs here, in your browser: ${code} kB of code and ` +
    `${whole(Math.round(bytes.parameters / 1000))} kB of weights, nothing is sent anywhere.`;
  part("layers").replaceChildren(...layers.map(layer));
  listen();
  if (about.pictures.channels === 1) drawing(part("canvas"), answer);
  try {
    network = await loading;
    part("measure").disabled = false;
    const threads = network.threads > 1 ? ` on ${network.threads} threads` : "";
    say(`Ready${threads} after ${(performance.now() - began).toFixed(0)} ms. Choose, photograph or draw a picture.`);
  } catch (error) {
    say((missing = error.message), true);
  }
}

