//! Addresses of texts that an editor has not encoded: `file:///a b.nin`.

use lsp_types::Uri;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;

/// Addresses as the editor writes them, by those that the server works with, where they differ.
#[derive(Debug, Default)]
pub struct Addresses(HashMap<String, String>);

impl Addresses {
    /// Puts the encoded address in the place of the one in a message's parameters.
    pub fn enter(&mut self, params: &mut Value) {
        let Some(Value::String(given)) = params.pointer_mut("/textDocument/uri") else { return };
        // It may write both, and is answered as it wrote last.
        self.0.remove(given);
        if given.parse::<Uri>().is_err() {
            let encoded = encoded(given);
            let given = std::mem::replace(given, encoded.clone());
            self.0.insert(encoded, given);
        }
    }

    /// Puts the editor's addresses in the place of encoded ones.
    pub fn leave(&self, value: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        match value {
            Value::String(text) => {
                if let Some(given) = self.0.get(text) {
                    text.clone_from(given);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.leave(item)),
            Value::Object(members) => {
                members.values_mut().for_each(|member| self.leave(member));
                let keys: Vec<String> = members.keys().filter(|key| self.0.contains_key(*key)).cloned().collect();
                for key in keys {
                    let member = members.remove(&key).unwrap_or_default();
                    members.insert(self.0[&key].clone(), member);
                }
            }
            _ => {}
        }
    }
}

/// The address with `%20` and the like for what cannot stand in one.
fn encoded(given: &str) -> String {
    let bytes = given.as_bytes();
    let hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
    let mut out = String::new();
    for (i, &byte) in bytes.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=".contains(&byte);
        match plain || byte == b'%' && hex(i + 1) && hex(i + 2) {
            true => out.push(char::from(byte)),
            false => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}
