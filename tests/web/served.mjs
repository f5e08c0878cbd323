// Drives the page of `ninc serve` in headless Chromium: pictures are dropped and chosen, one of them is none.
//
//     node served.mjs NINC SCREENSHOTS MODEL PICTURE CLASS …    (models and weights below models/, pictures below tests/data/)
//
// Exit code 1 with a sentence as soon as something is not as it should be.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Browser } from "./browser.mjs";

const [ninc, shots, ...cases] = process.argv.slice(2);
const STATUS = "document.getElementById('status').textContent";
const FIRST = "[...document.querySelectorAll('#list > li:first-child ol li')].map((bar) => bar.textContent)";

/** Drops files on the page, as a user does. */
const dropped = (files) => `(() => {
  const data = new DataTransfer();
  for (const [name, text, type] of ${JSON.stringify(files)}) {
    data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type }));
  }
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
})()`;

/** Nothing without a name, nothing wider than the screen. */
async function reachable(browser) {
  const nameless = await browser.value(`[...document.querySelectorAll("input, button, section, img")]
    .filter((e) => !(e.labels?.length || e.hasAttribute("alt") || e.hasAttribute("aria-labelledby"))).map((e) => e.outerHTML)`);
  assert.deepEqual(nameless, []);
  assert.equal(await browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0);
}

/** Tab reaches what is to be used, in the order of the page. */
async function tabs(browser) {
  for (const wanted of [/id="file"/]) {
    const key = { key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 };
    for (const type of ["rawKeyDown", "keyUp"]) await browser.send("Input.dispatchKeyEvent", { type, ...key });
    assert.match(await browser.value("document.activeElement.outerHTML.slice(0, 80)"), wanted);
  }
}

async function check(browser, name, picture, wanted) {
  const model = [`models/${name}.nin`, "--weights", `models/${name}.safetensors`];
  const server = spawn(ninc, ["serve", ...model, "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const address = (await once(server.stdout, "data")).toString().match(/http:\S+/)[0];
    await browser.open(address);
    await browser.until(`document.readyState === "complete" && ${STATUS} === "Ready."`);
    assert.equal(await browser.value("document.title"), name);
    await tabs(browser);
    const bytes = (await readFile(join("tests/data", picture))).toString("base64");
    await browser.value(dropped([[picture, bytes, "image/png"], ["no-picture.png", btoa("none"), "image/png"]]));
    await browser.until(`${STATUS}.startsWith("no-picture.png: this file is not a picture in a known format")`);
    assert.equal(await browser.value("document.querySelectorAll('#list > li').length"), 2);
    const { root } = await browser.send("DOM.getDocument");
    const { nodeId } = await browser.send("DOM.querySelector", { nodeId: root.nodeId, selector: "#file" });
    await browser.send("DOM.setFileInputFiles", { nodeId, files: [resolve("tests/data", picture)] });
    await browser.until(`${STATUS}.startsWith(${JSON.stringify(`${picture}: ${wanted}`)})`);
    const bars = await browser.value(FIRST);
    assert.ok(bars.length > 1 && bars[0].startsWith(wanted), `${wanted} is expected first, there are ${bars}`);
    for (const [screen, width, height] of [["wide", 1200, 900], ["narrow", 380, 800]]) {
      for (const scheme of ["light", "dark"]) {
        await writeFile(join(shots, `served-${name}-${screen}-${scheme}.png`), await browser.screenshot(width, height, scheme));
        await reachable(browser);
      }
    }
    // The refusal is the one thing that the console speaks of.
    assert.deepEqual(browser.problems.filter((text) => !text.includes("status of 400")), []);
    server.kill("SIGTERM");
    assert.equal((await once(server, "exit"))[0], 0);
    await browser.value(dropped([[picture, bytes, "image/png"]]));
    await browser.until(`${STATUS} === ${JSON.stringify(`${picture}: the server does not answer`)}`);
    console.log(`served ${name}: ${bars[0]}`);
    browser.problems.length = 0;
  } finally {
    server.kill("SIGKILL");
  }
}

const browser = await Browser.start();
try {
  while (cases.length) await check(browser, ...cases.splice(0, 3));
} finally {
  await browser.close();
}
