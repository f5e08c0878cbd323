//! A client that is a test.

use crate::front::{files, name};
use lsp_server::{Connection, Message, Notification, Request, RequestId};
use ninc::lsp::{End, serve};
use serde_json::{Value, json};
use std::thread::JoinHandle;

/// Texts of models, with names.
pub fn models() -> Vec<(String, String)> {
    let mut all: Vec<_> = ["models", "models/paper"].into_iter().flat_map(named).collect();
    all.sort();
    all
}

/// Texts of the corpus of diagnostics, with names.
pub fn corpus() -> Vec<(String, String)> {
    named("tests/diagnostics")
}

fn named(folder: &str) -> Vec<(String, String)> {
    files(folder, "nin").into_iter().map(|(path, text)| (name(&path), text)).collect()
}

pub struct Client {
    connection: Connection,
    server: Option<JoinHandle<End>>,
    next: i32,
    version: i32,
}

/// The address of a text.
pub fn uri(name: &str) -> String {
    format!("file:///models/{name}")
}

/// The position of an offset, counted by other means than the server's.
pub fn position(text: &str, offset: usize, encoding: &str) -> Value {
    let before = text[..offset].replace("\r\n", "\n").replace('\r', "\n");
    let line = before.rsplit('\n').next().unwrap_or("");
    let column = match encoding {
        "utf-8" => line.len(),
        "utf-16" => line.encode_utf16().count(),
        _ => line.chars().count(),
    };
    json!({ "line": before.matches('\n').count(), "character": column })
}

impl Client {
    pub fn new(encodings: &[&str]) -> (Client, Value) {
        let (server, connection) = Connection::memory();
        let server = std::thread::spawn(move || serve(&server));
        let mut client = Client { connection, server: Some(server), next: 0, version: 0 };
        let initialized = client
            .ask(
                "initialize",
                json!({ "processId": null, "rootUri": null, "capabilities": {
                    "general": { "positionEncodings": encodings },
                    "textDocument": {
                        "completion": { "completionItem": { "snippetSupport": true } },
                        "publishDiagnostics": { "relatedInformation": true },
                    },
                } }),
            )
            .expect("initialized");
        client.tell("initialized", json!({}));
        (client, initialized)
    }

    pub fn tell(&mut self, method: &str, params: Value) {
        self.connection.sender.send(Notification::new(method.into(), params).into()).expect("the server listens");
    }

    /// Asks; gives the result, or code and message of the refusal. Diagnostics that come before are dropped.
    pub fn ask(&mut self, method: &str, params: Value) -> Result<Value, (i32, String)> {
        self.next += 1;
        let id = RequestId::from(self.next);
        let request = Request { id: id.clone(), method: method.into(), params };
        self.connection.sender.send(request.into()).expect("the server listens");
        loop {
            match self.connection.receiver.recv().expect("the server answers") {
                Message::Response(response) => {
                    assert_eq!(response.id, id);
                    return response.response_result.map_err(|e| (e.code, e.message));
                }
                Message::Notification(n) => assert_eq!(n.method, "textDocument/publishDiagnostics"),
                Message::Request(request) => panic!("the server asks {}", request.method),
            }
        }
    }

    /// Asks for what must be answered.
    pub fn get(&mut self, method: &str, params: Value) -> Value {
        let shown = params.to_string();
        self.ask(method, params).unwrap_or_else(|e| panic!("{method} {shown}: {e:?}"))
    }

    /// Waits for the diagnostics of a text in its last version.
    pub fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        loop {
            let Message::Notification(told) = self.connection.receiver.recv().expect("the server tells") else {
                panic!("an answer that nobody asked for");
            };
            if told.params["uri"] == *uri && told.params["version"] == self.version {
                return told.params["diagnostics"].as_array().expect("a list").clone();
            }
        }
    }

    /// Opens a text and gives its diagnostics.
    pub fn open(&mut self, uri: &str, text: &str) -> Vec<Value> {
        self.version += 1;
        let document = json!({ "uri": uri, "languageId": "nin", "version": self.version, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        self.diagnostics(uri)
    }

    /// Changes a text and gives its diagnostics.
    pub fn change(&mut self, uri: &str, changes: Value) -> Vec<Value> {
        self.version += 1;
        let document = json!({ "uri": uri, "version": self.version });
        self.tell("textDocument/didChange", json!({ "textDocument": document, "contentChanges": changes }));
        self.diagnostics(uri)
    }

    pub fn close(mut self) {
        assert_eq!(self.get("shutdown", Value::Null), Value::Null);
        let (code, _) = self.ask("textDocument/hover", json!({})).expect_err("shut down");
        assert_eq!(code, -32600);
        self.tell("exit", Value::Null);
        let end = self.server.take().expect("running").join().expect("the server did not panic");
        assert_eq!(end, End::Orderly);
    }
}

/// The text after edits, whose ranges are in bytes.
pub fn edited(text: &str, edits: &[Value]) -> String {
    // A line ends with `\n`, `\r\n` or `\r`.
    let ends = |i: usize| match &text.as_bytes()[i..] {
        [b'\n', ..] => true,
        [b'\r', rest @ ..] => rest.first() != Some(&b'\n'),
        _ => false,
    };
    let starts: Vec<usize> = std::iter::once(0).chain((0..text.len()).filter(|&i| ends(i)).map(|i| i + 1)).collect();
    let offset = |p: &Value| {
        starts[p["line"].as_u64().expect("a line") as usize] + p["character"].as_u64().expect("a column") as usize
    };
    let mut all: Vec<(usize, usize, &str)> = edits
        .iter()
        .map(|e| (offset(&e["range"]["start"]), offset(&e["range"]["end"]), e["newText"].as_str().expect("a text")))
        .collect();
    all.sort();
    let mut text = text.to_string();
    for (start, end, new) in all.into_iter().rev() {
        text.replace_range(start..end, new);
    }
    text
}
