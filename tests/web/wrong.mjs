// Opens built pages in headless Chromium where something is wrong, and looks at what they say.
//
//     node wrong.mjs FOLDER      (with the pages of `digits` and of `other`, another build of the same network)
//
// Exit code 1 with a sentence as soon as something is not as it should be.
import assert from "node:assert/strict";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Browser, serve } from "./browser.mjs";

const folder = process.argv[2];
const STATUS = "document.getElementById('status').textContent";
const SHOWN = "document.querySelectorAll('#bars li').length + document.getElementById('time').textContent.length";

/** A copy of the page of digits in which something was changed. */
async function broken(name, change) {
  await cp(join(folder, "digits"), join(folder, name), { recursive: true });
  await change((file) => join(folder, name, file));
  return name;
}

async function says(browser, address, sentence) {
  await browser.open(address);
  await browser.until(`document.readyState === "complete" && ${STATUS}.includes(${JSON.stringify(sentence)})`);
  console.log(`${address.split("/").at(-2)}: ${await browser.value(STATUS)}`);
}

const { server, address } = await serve(folder);
const browser = await Browser.start();
try {
  const at = (name) => `${address}/${name}/`;
  await says(browser, at(await broken("mixed", (to) => cp(join(folder, "other/digits.wasm"), to("digits.wasm")))), "another build");
  await says(browser, at(await broken("cut", (to) => writeFile(to("digits.wasm"), "\0asm"))), "is not whole: 4 of");
  await says(browser, at(await broken("page", (to) => writeFile(to("digits.wasm"), "<!doctype html>"))), "not a module");
  await says(browser, at(await broken("less", (to) => rm(to("digits.js")))), "digits.js cannot be loaded");
  await says(browser, at(await broken("old", (to) => writeFile(to("digits.js"), "export {}"))), "export");
  await says(browser, `file://${resolve(folder, "digits")}/index.html`, `http.server --directory ${resolve(folder, "digits")}`);

  // The canvas has the shape of the network's pictures.
  const wide = await broken("wide", async (to) => {
    const script = await readFile(to("digits.js"), "utf8");
    await writeFile(to("digits.js"), script.replace('"width": 8', '"width": 32'));
  });
  await says(browser, at(wide), "Ready");
  const box = "(({ width, height }) => [width, height])(document.getElementById('canvas').getBoundingClientRect())";
  assert.deepEqual(await browser.value("[canvas.width, canvas.height]"), [280, 70]);
  const [across, down] = await browser.value(box);
  assert.ok(Math.abs(across - 4 * down) < 8, `the canvas is ${across} wide and ${down} high`);

  await browser.open(at("digits"));
  await browser.until(`document.readyState === "complete" && ${STATUS}.startsWith("Ready")`);
  await browser.value(`window.drop = async (blob, name) => {
    const data = new DataTransfer();
    data.items.add(new File([blob], name, { type: "image/png" }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
  }`);
  const good = `fetch("/digit-7.png").then((response) => response.blob())`;
  // The first picture is decoded when the second has its answer.
  await browser.value(`(async () => {
    const [decode, blob] = [createImageBitmap, await ${good}];
    let free;
    const later = new Promise((done) => (free = done));
    window.older = new Promise((done) => {
      createImageBitmap = async (...all) => {
        createImageBitmap = decode;
        await later;
        setTimeout(done, 100);
        return decode(...all);
      };
    });
    drop(blob, "older.png");
    drop(blob, "newer.png");
    window.free = free;
  })()`);
  await browser.until(`${STATUS}.startsWith("newer.png: 7")`);
  await browser.value("free(), older");
  assert.match(await browser.value(STATUS), /^newer.png/, "the older picture's answer is not shown");
  assert.ok(await browser.value(SHOWN));
  // Nothing of an answer stays beside an error, or on a canvas that was cleared.
  await browser.value(`drop(new Blob(["no picture"]), "text.png")`);
  await browser.until(`${STATUS}.startsWith("text.png: the browser cannot read this")`);
  assert.equal(await browser.value(SHOWN), 0, "the old answer stays beside an error");
  await browser.value(`${good}.then((blob) => drop(blob, "again.png"))`);
  await browser.until(`${STATUS}.startsWith("again.png: 7")`);
  await browser.value("document.getElementById('clear').click()");
  assert.equal(await browser.value(SHOWN), 0, "the old answer stays over a clear canvas");
  // Maps may be large.
  await browser.value(`(async () => {
    const { Network } = await import(document.querySelector("link[rel=modulepreload]").href);
    Network.prototype.map = () => ({ height: 600, width: 600, values: new Float32Array(360000).fill(1) });
    drop(await ${good}, "large.png");
  })()`);
  await browser.until("document.querySelectorAll('#maps figure').length === 4");
  assert.match(await browser.value(STATUS), /^large.png: 7/);
  // What fails while somebody draws is said.
  await browser.value(`(() => {
    CanvasRenderingContext2D.prototype.getImageData = () => ({ width: 2, height: 2, data: new Float32Array(16) });
    const canvas = document.getElementById("canvas");
    for (let i = 0; i < 2; i++) canvas.dispatchEvent(new KeyboardEvent("keydown", { key: " " }));
  })()`);
  await browser.until(`${STATUS}.startsWith("a picture is")`);
  console.log("digits: the newest picture is shown, and nothing beside an error");
} finally {
  await browser.close();
  server.close();
}
