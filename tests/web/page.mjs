// Drives built pages in headless Chromium: a picture is dropped, chosen and drawn, with a pointer and with the keyboard.
//
//     node page.mjs FOLDER SCREENSHOTS PAGE PICTURE CLASS …    (pages and pictures below FOLDER)
//
// Exit code 1 with a sentence as soon as something is not as it should be.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Browser, serve } from "./browser.mjs";

const [folder, shots, ...cases] = process.argv.slice(2);
const STATUS = "document.getElementById('status').textContent";
const BARS = "[...document.querySelectorAll('#bars li')].map((bar) => bar.textContent)";

/** Takes down in a page, in milliseconds from when it was asked for, when it is ready and when it answers. */
const CLOCK = `const times = {};
new MutationObserver(() => {
  const status = document.getElementById("status")?.textContent ?? "";
  if (status.startsWith("Ready")) times.ready ??= performance.now();
  if (times.dropped && status.includes(": ")) times.answered ??= performance.now();
}).observe(document, { subtree: true, childList: true, characterData: true });`;

/** Drops a picture of the server on the page, as a user does. */
const dropped = (picture) => `(async () => {
  const bytes = await (await fetch("/${picture}")).blob();
  const data = new DataTransfer();
  data.items.add(new File([bytes], "${picture}", { type: "image/png" }));
  times.dropped = performance.now();
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
})()`;

async function answers(browser, picture, wanted) {
  await browser.until(`${STATUS}.startsWith(${JSON.stringify(`${picture}: `)})`);
  const bars = await browser.value(BARS);
  assert.ok(bars.length > 1, "there are several bars");
  assert.ok(bars[0].startsWith(wanted), `${picture}: ${wanted} is expected first, there are ${bars}`);
}

/** Draws strokes of points, in parts of the canvas's side. */
async function draw(browser, strokes) {
  const box = await browser.value(`(() => {
    const canvas = document.getElementById("canvas");
    canvas.scrollIntoView({ block: "center" });
    const { left, top, width } = canvas.getBoundingClientRect();
    return { left, top, width };
  })()`);
  const mouse = (type, [x, y]) =>
    browser.send("Input.dispatchMouseEvent", {
      type, x: box.left + x * box.width, y: box.top + y * box.width, button: "left", buttons: 1, clickCount: 1,
    });
  for (const [first, ...points] of strokes) {
    await mouse("mousePressed", first);
    for (const point of points) await mouse("mouseMoved", point);
    await mouse("mouseReleased", points.at(-1));
  }
}

async function key(browser, key, times = 1) {
  for (let i = 0; i < times; i++) {
    await browser.send("Input.dispatchKeyEvent", { type: "keyDown", key });
    await browser.send("Input.dispatchKeyEvent", { type: "keyUp", key });
  }
}

/** A one is a line from top to bottom. */
async function drawings(browser) {
  if (await browser.value("document.getElementById('drawing').hidden")) return;
  await draw(browser, [[[0.5, 0.15], [0.5, 0.4], [0.5, 0.6], [0.5, 0.85]]]);
  await answers(browser, "Your drawing", "1");
  // The same with the keyboard: to the top with the pen up, to the bottom with the pen down.
  await browser.value("document.getElementById('clear').click(), document.getElementById('canvas').focus()");
  await key(browser, "ArrowUp", 14);
  await key(browser, " ");
  await key(browser, "ArrowDown", 14);
  await key(browser, " ");
  await answers(browser, "Your drawing", "1");
}

/** All that is to be used has a name, and Tab reaches it in the order of the page. */
async function reachable(browser) {
  const nameless = await browser.value(`[...document.querySelectorAll("input, button, canvas, section")]
    .filter((e) => !(e.labels?.length || e.textContent.trim() || e.hasAttribute("aria-label") || e.hasAttribute("aria-labelledby")))
    .map((e) => e.outerHTML)`);
  assert.deepEqual(nameless, []);
  const wide = await browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
  assert.equal(wide, 0, "the page is not wider than the screen");
}

async function screenshots(browser, name) {
  for (const [screen, width, height] of [["wide", 1200, 900], ["narrow", 380, 800]]) {
    for (const scheme of ["light", "dark"]) {
      await writeFile(join(shots, `${name}-${screen}-${scheme}.png`), await browser.screenshot(width, height, scheme));
      await reachable(browser);
    }
  }
}

/** Drives the page at a path of the server; `name` is that of its screenshots. */
async function check(browser, address, path, picture, wanted, name = path) {
  await browser.open(`${address}/${path}/`);
  await browser.until(`document.readyState === "complete" && ${STATUS}.startsWith("Ready")`);
  await browser.value(dropped(picture));
  await answers(browser, picture, wanted);
  const { ready, dropped: drop, answered } = await browser.value("times");
  const { root } = await browser.send("DOM.getDocument");
  const { nodeId } = await browser.send("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
  await browser.value(`document.getElementById("status").textContent = ""`);
  await browser.send("DOM.setFileInputFiles", { nodeId, files: [resolve(folder, picture)] });
  await answers(browser, picture, wanted);
  await browser.value("document.getElementById('measure').click()");
  const total = await browser.until(`${STATUS}.match(/takes ([0-9.]+) ms/)?.[1]`);
  await screenshots(browser, name);
  await drawings(browser);
  await writeFile(join(shots, `${name}-drawn.png`), await browser.screenshot(1200, 900, "light"));
  assert.deepEqual(browser.problems, []);
  const [opened, answer] = [ready, answered - drop].map((time) => time.toFixed(0));
  console.log(`${name}: ready after ${opened} ms, the first answer ${answer} ms after a drop; a picture takes ${total} ms`);
}

/** The page of several threads: without the headers it says what is missing, with them it has the bits of one thread. */
async function threads(browser, address, name) {
  await browser.open(`${address}/threads/`);
  await browser.until(`document.readyState === "complete" && ${STATUS}.includes("Cross-Origin-Opener-Policy")`);
  await screenshots(browser, "refused");
  // Whoever drops a picture all the same reads it again.
  await browser.value(`document.getElementById("status").textContent = ""`);
  await browser.value(dropped("ship.png"));
  await browser.until(`${STATUS}.includes("Cross-Origin-Opener-Policy")`);
  await check(browser, address, "isolated/threads", "ship.png", "ship", "threads");
  const bits = (folder, options) => `(async () => {
    const { about, load } = await import("${folder}/${name}.js");
    const network = await load(undefined, ${options});
    const input = Float32Array.from({ length: about.input.shape.reduce((a, b) => a * b) }, (_, i) => (i * 37 % 256) / 256);
    const all = [network.threads, ...new Uint32Array(network.run(input).buffer)];
    network.close();
    return all;
  })()`;
  const [one, ...alone] = await browser.value(bits(`/isolated/${name}`, "{}"));
  const [many, ...together] = await browser.value(bits("/isolated/threads", "{ threads: 3 }"));
  assert.deepEqual([one, many], [1, 3]);
  assert.deepEqual(together, alone, "three threads give other bits");
  assert.deepEqual(browser.problems, []);
  console.log(`${name}: three threads have the bits of one`);
}

const { server, address } = await serve(folder);
const browser = await Browser.start();
try {
  await browser.send("Page.addScriptToEvaluateOnNewDocument", { source: CLOCK });
  for (let i = 0; i < cases.length; i += 3) await check(browser, address, ...cases.slice(i, i + 3));
  await threads(browser, address, "cifar10");
} finally {
  await browser.close();
  server.close();
}
