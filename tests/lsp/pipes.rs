//! The server as editors start it: a process, its input and its output.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

fn start() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.args(["lsp", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("ninc starts")
}

fn send(child: &mut Child, message: Value) {
    let text = message.to_string();
    let input = child.stdin.as_mut().expect("an input");
    write!(input, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("sent");
    input.flush().expect("sent");
}

fn receive(output: &mut BufReader<ChildStdout>) -> Value {
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).expect("a line"), 0, "the server is gone");
        match line.trim_end() {
            "" => break,
            head => length = head.strip_prefix("Content-Length: ").map_or(length, |n| n.parse().expect("a number")),
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).expect("the message");
    serde_json::from_slice(&body).expect("JSON")
}

#[test]
fn a_conversation_over_pipes() {
    let mut child = start();
    let mut output = BufReader::new(child.stdout.take().expect("an output"));
    send(&mut child, json!({ "jsonrpc": "2.0", "id": "x", "method": "textDocument/hover", "params": {} }));
    assert_eq!(receive(&mut output)["error"]["code"], -32002);
    send(&mut child, json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "capabilities": {} } }));
    let answer = receive(&mut output);
    assert_eq!(answer["result"]["capabilities"]["positionEncoding"], "utf-16");
    assert_eq!(answer["result"]["serverInfo"]["name"], "ninc");
    send(&mut child, json!({ "jsonrpc": "2.0", "method": "initialized", "params": {} }));
    let text = "network n {\n    input image: [1, 8, 8]\n\n    image |> flaten |> linear(10)\n}\n";
    send(
        &mut child,
        json!({ "jsonrpc": "2.0", "method": "textDocument/didOpen", "params": { "textDocument":
        { "uri": "untitled:Untitled-1", "languageId": "nin", "version": 1, "text": text } } }),
    );
    let told = receive(&mut output);
    assert_eq!(told["params"]["diagnostics"][0]["code"], "unknown-function");
    send(&mut child, json!({ "jsonrpc": "2.0", "id": 2, "method": "no/such", "params": {} }));
    assert_eq!(receive(&mut output)["error"]["code"], -32601);
    send(&mut child, json!({ "jsonrpc": "2.0", "id": 3, "method": "shutdown" }));
    assert_eq!(receive(&mut output)["result"], Value::Null);
    send(&mut child, json!({ "jsonrpc": "2.0", "method": "exit" }));
    assert!(child.wait().expect("an end").success());
}

#[test]
fn other_ends_are_failures() {
    let mut child = start();
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("without `shutdown` and `exit`"));
    let mut child = start();
    child.stdin.as_mut().expect("an input").write_all(b"Content-Length: 5\r\n\r\nhello").expect("sent");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Language Server Protocol"));
    // A length that no memory holds.
    let mut child = start();
    child.stdin.as_mut().expect("an input").write_all(b"Content-Length: 99999999999999\r\n\r\n{").expect("sent");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a message of 99999999999999 bytes"));
}

/// An output that takes nothing is said, and not that the input were wrong.
#[test]
#[cfg(target_os = "linux")]
fn answers_that_cannot_be_written() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
    command.arg("lsp").stdin(Stdio::piped()).stdout(full).stderr(Stdio::piped());
    let mut child = command.spawn().expect("ninc starts");
    send(&mut child, json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "capabilities": {} } }));
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("answers cannot be written") && !said.contains("Protocol"), "{said}");
}
