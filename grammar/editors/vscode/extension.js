// The client of `ninc lsp`: starts the program and hands it the texts of model files.
'use strict';

const vscode = require('vscode');
const { LanguageClient, TransportKind } = require('vscode-languageclient/node');

let client;

/** Starts the server; says what to do where there is no program. */
async function activate(context) {
  const command = vscode.workspace.getConfiguration('ninc').get('path') || 'ninc';
  const executable = { command, args: ['lsp'], transport: TransportKind.stdio };
  const documents = [{ language: 'nin' }];
  client = new LanguageClient('ninc', 'ninc', executable, { documentSelector: documents });
  context.subscriptions.push({ dispose: () => deactivate() });
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    const message = `ninc: \`${command} lsp\` does not start (${error.message || error}); set "ninc.path" to the program`;
    vscode.window.showErrorMessage(message);
  }
}

function deactivate() {
  const running = client;
  client = undefined;
  return running ? running.stop() : undefined;
}

module.exports = { activate, deactivate };
