// The extension starts the real server and speaks with it. Visual Studio Code itself is not here: `vscode` has what the extension
// asks of it, and the client speaks the protocol by the library that the real client is made of.
//
//     NINC=/path/to/ninc npm test
'use strict';

const assert = require('node:assert');
const { spawn } = require('node:child_process');
const Module = require('node:module');
const test = require('node:test');
const rpc = require('vscode-languageserver-protocol/node');

const program = process.env.NINC || 'ninc';
const shown = [];
let path = program;
let last;

/** What the real `LanguageClient` does to begin and end: a process, a connection, the handshake. */
class LanguageClient {
  constructor(id, name, executable, options) {
    Object.assign(this, { id, name, executable, options });
    last = this;
  }

  async start() {
    const { command, args } = this.executable;
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise((resolve, reject) => this.process.once('spawn', resolve).once('error', reject));
    this.connection = rpc.createProtocolConnection(this.process.stdout, this.process.stdin);
    this.connection.listen();
    const params = { processId: process.pid, rootUri: null, capabilities: {} };
    this.initialized = await this.connection.sendRequest(rpc.InitializeRequest.type, params);
    await this.connection.sendNotification(rpc.InitializedNotification.type, {});
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    await this.connection.sendRequest(rpc.ShutdownRequest.type);
    await this.connection.sendNotification(rpc.ExitNotification.type);
    this.status = await ended;
  }
}

const vscode = {
  workspace: { getConfiguration: (section) => ({ get: (key) => (`${section}.${key}` === 'ninc.path' ? path : undefined) }) },
  window: { showErrorMessage: (message) => shown.push(message) },
};
const load = Module._load;
Module._load = (request, ...rest) => {
  if (request === 'vscode') return vscode;
  if (request === 'vscode-languageclient/node') return { LanguageClient, TransportKind: { stdio: 0 } };
  return load(request, ...rest);
};
const extension = require('../extension.js');
const manifest = require('../package.json');

test('the server starts, answers and ends', async () => {
  await extension.activate({ subscriptions: [] });
  assert.deepStrictEqual(shown, []);
  assert.deepStrictEqual(last.options.documentSelector, [{ language: manifest.contributes.languages[0].id }]);
  assert.strictEqual(last.initialized.serverInfo.name, 'ninc');
  const told = new Promise((resolve) =>
    last.connection.onNotification(rpc.PublishDiagnosticsNotification.type, resolve));
  const text = 'network n {\n    input image: [1, 8, 8]\n\n    image |> flaten |> linear(10)\n}\n';
  const textDocument = { uri: 'file:///n.nin', languageId: 'nin', version: 1, text };
  await last.connection.sendNotification(rpc.DidOpenTextDocumentNotification.type, { textDocument });
  const { diagnostics } = await told;
  assert.strictEqual(diagnostics[0].code, 'unknown-function');
  const hover = await last.connection.sendRequest(rpc.HoverRequest.type, {
    textDocument: { uri: textDocument.uri },
    position: { line: 3, character: 25 },
  });
  assert.match(hover.contents.value, /Fully connected layer/);
  await extension.deactivate();
  assert.strictEqual(last.status, 0);
});

test('a program that is missing is named', async () => {
  path = '/no/such/ninc';
  await extension.activate({ subscriptions: [] });
  assert.match(shown.at(-1), /`\/no\/such\/ninc lsp` does not start.*"ninc\.path"/);
  await extension.deactivate();
});

test('the colours are regular expressions that can be read', () => {
  const { patterns } = require('../syntaxes/nin.tmLanguage.json');
  for (const { match, begin, end } of patterns) {
    for (const pattern of [match, begin, end].filter(Boolean)) new RegExp(pattern);
  }
});
