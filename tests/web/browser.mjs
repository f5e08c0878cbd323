// Headless Chromium by its debugging pipe, and a plain file server: no packages are needed.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** What lets a page's threads share memory. */
const ISOLATED = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** Serves the files of a folder, isolated where their path says so; returns the server and its address. */
export async function serve(folder) {
  const server = createServer(async (request, response) => {
    const asked = decodeURIComponent(new URL(request.url, "http://local").pathname);
    const path = asked.replace(/^\/isolated/, "");
    const headers = path === asked ? {} : ISOLATED;
    const file = join(folder, normalize(path.endsWith("/") ? `${path}index.html` : path));
    try {
      const bytes = await readFile(file);
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", ...headers });
      response.end(bytes);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { server, address: `http://127.0.0.1:${server.address().port}` };
}

/** A browser with one tab. */
export class Browser {
  #next = 1;
  #waiting = new Map();
  /** What the page wrote to its console, and errors that nobody caught. */
  problems = [];

  static async start(program = process.env.CHROMIUM ?? "chromium") {
    const browser = new Browser();
    browser.profile = await mkdtemp(join(tmpdir(), "page-"));
    const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"];
    browser.process = spawn(program, [...flags, `--user-data-dir=${browser.profile}`, "--remote-debugging-pipe", "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    let text = "";
    browser.process.stdio[4].on("data", (data) => {
      const parts = (text + data).split("\0");
      text = parts.pop();
      parts.forEach((part) => browser.#receive(JSON.parse(part)));
    });
    const { targetInfos } = await browser.send("Target.getTargets");
    const { targetId } = targetInfos.find(({ type }) => type === "page");
    browser.session = (await browser.send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    for (const domain of ["Page", "Runtime", "DOM", "Log"]) await browser.send(`${domain}.enable`);
    return browser;
  }

  #receive({ id, result, error, method, params }) {
    if (id) {
      const { done, failed } = this.#waiting.get(id);
      this.#waiting.delete(id);
      return error ? failed(new Error(error.message)) : done(result);
    }
    if (method === "Runtime.exceptionThrown") this.problems.push(params.exceptionDetails.exception?.description);
    if (method === "Log.entryAdded" && params.entry.level === "error") this.problems.push(params.entry.text);
  }

  send(method, params = {}) {
    const id = this.#next++;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    return new Promise((done, failed) => this.#waiting.set(id, { done, failed }));
  }

  /** The value of an expression in the page, which may be a promise. */
  async value(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression holds in the page; returns its value. */
  async until(expression, seconds = 30) {
    for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
      const value = await this.value(expression);
      if (value) return value;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`never: ${expression}\n${this.problems.join("\n")}`);
  }

  open(address) {
    return this.send("Page.navigate", { url: address });
  }

  /** A picture of the page, as a PNG's bytes. */
  async screenshot(width, height, scheme) {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  }

  async close() {
    await this.send("Browser.close").catch(() => {});
    await new Promise((done) => this.process.once("exit", done));
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
