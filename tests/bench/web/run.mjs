// Runs the engines of bench.mjs one after the other, each in a page of its own, and prints their times.
import { Browser, serve } from "../../web/browser.mjs";

const [folder, runs = "60", ...names] = process.argv.slice(2);
const engines = names.length ? names : ["strict", "relaxed", "onnxruntime-web", "TensorFlow.js"];
const { server, address } = await serve(folder);
const browser = await Browser.start();
let reference;
try {
  for (const engine of engines) {
    await browser.open(`${address}/bench.html?${encodeURIComponent(engine)}`);
    await browser.until(`location.search.endsWith(${JSON.stringify(encodeURIComponent(engine))}) && globalThis.ready`);
    const { first, median, best, result } = await browser.value(`measure(${JSON.stringify(engine)}, ${runs})`);
    reference ??= result;
    const far = Math.max(...result.map((value, i) => Math.abs(value - reference[i])));
    if (!(far < 1e-4)) throw new Error(`${engine} computes something else: ${far} from the first engine`);
    const ms = (time) => time.toFixed(2).padStart(8);
    console.log(`${engine.padEnd(16)} first ${ms(first)}  median ${ms(median)}  best ${ms(best)}`);
  }
} finally {
  await browser.close();
  server.close();
}
