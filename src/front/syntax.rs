//! Turns the parser's "expected one of these rules here" into one sentence that a person can use.

use super::codes;
use super::diag::{Diagnostic, Span};
use super::lex::{Token, TokenKind};
use super::parse::Rule;
use super::split::shorten;
use super::suggest;
use pest::error::{Error, ErrorVariant, InputLocation};

/// Words of the language, which cannot be names.
pub const KEYWORDS: [&str; 11] =
    ["network", "block", "input", "let", "output", "return", "repeat", "defaults", "as", "true", "false"];

/// What to call a rule in "expected …"; the number is its place in the sentence. `None`: not worth naming.
fn words(rule: Rule) -> Option<(u8, &'static str)> {
    Some(match rule {
        Rule::comma => (1, "`,`"),
        Rule::close_paren => (2, "`)`"),
        Rule::close_bracket => (2, "`]`"),
        Rule::equals => (1, "`=`"),
        Rule::colon => (1, "`:`"),
        Rule::open_paren | Rule::parameters | Rule::arguments => (3, "`(`"),
        Rule::open_brace | Rule::body | Rule::entries => (3, "`{`"),
        Rule::pipe => (4, "`|>`"),
        Rule::call | Rule::step | Rule::repeated => (2, "a function"),
        Rule::name | Rule::parameter | Rule::entry => (2, "a name"),
        Rule::number
        | Rule::text
        | Rule::list
        | Rule::group
        | Rule::boolean
        | Rule::expr
        | Rule::sum
        | Rule::product
        | Rule::unary
        | Rule::argument
        | Rule::count => (2, "a value"),
        Rule::kw_let
        | Rule::kw_input
        | Rule::kw_output
        | Rule::kw_defaults
        | Rule::kw_return
        | Rule::defaults
        | Rule::input
        | Rule::binding
        | Rule::output
        | Rule::return_statement
        | Rule::repeat => (6, "a statement"),
        Rule::close_brace => (7, "`}`"),
        _ => return None,
    })
}

fn expected(positives: &[Rule]) -> String {
    let mut found: Vec<(u8, &str)> = positives.iter().filter_map(|r| words(*r)).collect();
    found.sort_unstable();
    found.dedup();
    // A value may be a name or a call: one word for the three.
    if found.iter().any(|(_, w)| *w == "a value") {
        found.retain(|(_, w)| !matches!(*w, "a name" | "a function"));
    } else if found.iter().any(|(_, w)| *w == "a function") {
        found.retain(|(_, w)| *w != "a name");
    }
    // A statement may be an expression.
    if found.iter().any(|(_, w)| *w == "a statement") {
        found.retain(|(_, w)| *w != "a value");
    }
    found.truncate(4);
    let words: Vec<&str> = found.iter().map(|(_, w)| *w).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_string(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "something else".into(),
    }
}

/// The diagnostic for a parser's error in the part of `text` that starts at `offset`.
pub fn diagnose(error: &Error<Rule>, text: &str, tokens: &[Token], offset: usize, end: usize) -> Diagnostic {
    let at = offset
        + match error.location {
            InputLocation::Pos(p) => p,
            InputLocation::Span((p, _)) => p,
        };
    let code_tokens = |t: &&Token| t.kind != TokenKind::Comment;
    let index = tokens.partition_point(|t| t.span.end <= at);
    let token = tokens[index..].iter().find(code_tokens).filter(|t| t.span.start < end);
    let before = tokens[..index].iter().rev().find(code_tokens);
    let positives: &[Rule] = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives,
        ErrorVariant::CustomError { .. } => &[],
    };
    let Some(token) = token else {
        let last = before.map_or(Span::new(end.saturating_sub(1), end), |t| t.span);
        return Diagnostic::error(codes::SYNTAX, last, format!("expected {} after this", expected(positives)));
    };
    let found = token.text(text);
    if let Some(d) = number_problem(token, found).filter(|_| token.kind == TokenKind::Number) {
        return d;
    }
    let previous = before.map_or("", |t| t.text(text));
    let next = tokens[index..].iter().filter(code_tokens).nth(1).map_or("", |t| t.text(text));
    if let Some(word) = foreign(&tokens[..=index], text) {
        let message = format!("the language has no `{}`", word.text(text));
        return Diagnostic::error(codes::SYNTAX, word.span, message)
            .help("`repeat 3 { … }` repeats steps or statements");
    }
    if positives.iter().any(|rule| words(*rule).is_some_and(|(_, what)| what == "a statement"))
        && let Some(d) = statement(&tokens[..index], found, text)
    {
        return d;
    }
    let message = format!("expected {}, found `{}`", expected(positives), shorten(found));
    Diagnostic::error(codes::SYNTAX, token.span, message).maybe_help(help(token, found, [previous, next], positives))
}

/// A statement of other languages that begins the last token's line: as a name it is read without complaint, and what
/// follows is then unexpected.
fn foreign<'t>(tokens: &'t [Token], text: &str) -> Option<&'t Token> {
    let first = tokens.iter().rev().find(|t| t.newlines > 0)?;
    matches!(first.text(text), "if" | "for" | "while" | "def" | "fn" | "import").then_some(first)
}

/// A mistyped word that begins a statement, or a forgotten `let`: as names they are read without complaint, and then
/// `found`, which follows the tokens, is unexpected.
fn statement(before: &[Token], found: &str, text: &str) -> Option<Diagnostic> {
    let mut back = before.iter().rev().filter(|t| t.kind != TokenKind::Comment);
    let (last, previous) = (back.next()?, back.next());
    let first = before.iter().rev().find(|t| t.newlines > 0);
    let is_name = |t: &&Token| t.kind == TokenKind::Word && !KEYWORDS.contains(&t.text(text));
    let meant = |token: Option<&Token>, statements: &[&'static str]| {
        let token = token.filter(is_name)?;
        let near = suggest::nearest(token.text(text), statements.iter().copied())?;
        let message = format!("there is no statement `{}`", shorten(token.text(text)));
        Some(Diagnostic::error(codes::SYNTAX, token.span, message).suggest(Some(suggest::meant(near))))
    };
    match found {
        "{" => meant(Some(last), &["defaults"])
            .or_else(|| meant(first, &["repeat"]))
            .or_else(|| meant(previous, &["repeat"])),
        ":" => meant(previous, &["input"]),
        "=" if !is_name(&last) || previous.is_some_and(|t| matches!(t.text(text), "as" | "|>")) => None,
        "=" => meant(previous, &["let", "output"]).or_else(|| {
            let name = last.text(text);
            let d =
                Diagnostic::error(codes::SYNTAX, last.span, format!("`{}` gets a value without `let`", shorten(name)));
            Some(d.help(format!("write `let {} = …`", shorten(name))).fix(last.span, format!("let {name}")))
        }),
        _ => None,
    }
}

/// A number token that is not a number of the language.
fn number_problem(token: &Token, found: &str) -> Option<Diagnostic> {
    let plain = found.replace('_', "");
    if plain.parse::<f64>().is_ok() {
        return None;
    }
    let message = format!("`{}` is not a number", shorten(found));
    let help = "numbers look like `12`, `100_000`, `0.5` and `1e-4`; a name starts with a letter";
    Some(Diagnostic::error(codes::BAD_NUMBER, token.span, message).help(help))
}

fn help(token: &Token, found: &str, [previous, next]: [&str; 2], positives: &[Rule]) -> Option<String> {
    let wants = |rule: Rule| positives.contains(&rule);
    let starts_value = matches!(token.kind, TokenKind::Word | TokenKind::Number | TokenKind::Text) || found == "[";
    Some(match found {
        ";" => "statements end where the next one begins, without `;`".into(),
        ":" if wants(Rule::equals) => "values are given with `=`".into(),
        "=" | "[" | "(" if wants(Rule::colon) => "an input's shape follows a colon: `input image: [3, 32, 32]`".into(),
        "=" if previous == "=" || next == "=" => "one `=` gives a value; the language compares nothing".into(),
        "|" | ">" if wants(Rule::pipe) || previous == "-" => "a pipeline is written `|>`".into(),
        "." => "numbers have a digit before the point: `0.5`; arguments stand in parentheses".into(),
        "'" => "strings stand in double quotes: `\"relu\"`".into(),
        "#" => "comments start with `//`".into(),
        "/" if next == "*" => "comments start with `//` and end with their line".into(),
        "+" | "-" | "*" | "/" | "%" if wants(Rule::pipe) => {
            "put parentheses around a pipeline to calculate with its value: `(x |> relu) + y`".into()
        }
        "," if wants(Rule::open_brace) || wants(Rule::close_brace) => "statements and keys need no `,` here".into(),
        _ if KEYWORDS.contains(&found) && wants(Rule::name) => {
            format!("`{found}` is a word of the language; choose another name")
        }
        _ if wants(Rule::equals) && starts_value => format!("write `{} = {}`", shorten(previous), shorten(found)),
        _ if previous == "|>" => "a pipeline continues with a function: `x |> relu`".into(),
        _ if wants(Rule::comma) && starts_value => format!("put a `,` before `{}`", shorten(found)),
        _ => return None,
    })
}
