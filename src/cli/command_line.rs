//! Commands as lines for a shell: messages give what one can type.

use std::ffi::OsString;
use std::sync::OnceLock;

/// The words of the command that runs, the program's own name first.
static WORDS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Keeps the words of this process's command.
pub fn begin(words: Vec<OsString>) {
    let _ = WORDS.set(words);
}

/// The words of this process's command; none where another program calls functions of this one.
pub fn words() -> &'static [OsString] {
    WORDS.get().map_or(&[], Vec::as_slice)
}

/// The command that runs, with these words behind it.
pub fn again(more: &[&str]) -> String {
    again_without(None, more)
}

/// The same without an option and its value.
pub fn again_without(option: Option<&str>, more: &[&str]) -> String {
    let words: Vec<_> = words().iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let named = |word: &str| option.is_some_and(|option| word == option);
    let whole = |word: &str| option.is_some_and(|option| word.strip_prefix(option).is_some_and(|v| v.starts_with('=')));
    let left_out = |i: usize| named(&words[i]) || whole(&words[i]) || i > 0 && named(&words[i - 1]);
    let own = (0..words.len()).filter(|i| !left_out(*i)).map(|i| quoted(&words[i]));
    let all: Vec<String> = own.chain(more.iter().map(|word| quoted(word))).collect();
    format!("ninc {}", all.join(" "))
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_them_otherwise() {
        let words = ["--set=a=1", "a b", "it's", "", "*.nin", "größe/ü.nin"].map(quoted);
        assert_eq!(words, ["--set=a=1", "'a b'", r"'it'\''s'", "''", "'*.nin'", "größe/ü.nin"]);
    }
}
