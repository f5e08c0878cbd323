//! pest's pairs to the spanned syntax tree. pest stops at its first error, so an item with an error is parsed again
//! with the offending line blanked out: what it says then is about the rest.

use super::ast::{
    Argument, BinOp, Block, Call, Entry, Expr, ExprKind, Item, Name, Network, Parameter, Section, SectionKind, Step,
    StepKind, Stmt, StmtKind,
};
use super::codes;
use super::diag::{Diagnostic, Span};
use super::lex::Token;
use super::split::Chunk;
use super::syntax;
use pest::Parser as _;
use pest::iterators::Pair;

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/nin.pest"]
struct Grammar;

/// The most syntax errors that are reported of one item: a text with more is not a model file.
const MAX_ERRORS: usize = 10;

/// Parses one item. Without errors in the diagnostics there is an item.
pub fn item(text: &str, tokens: &[Token], chunk: &Chunk) -> (Option<Item>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let source = &text[chunk.span.range()];
    match Grammar::parse(Rule::file_item, source) {
        Ok(mut pairs) => {
            let mut builder = Builder { offset: chunk.span.start, diagnostics };
            let item = pairs.next().map(|pair| builder.item(pair));
            (item, builder.diagnostics)
        }
        Err(error) => {
            let mut attempt = source.to_string();
            let mut error = error;
            let mut last_line = None;
            while diagnostics.len() < MAX_ERRORS {
                let diagnostic = syntax::diagnose(&error, text, tokens, chunk.span.start, chunk.span.end);
                let line = line_of(source, diagnostic.span.start.saturating_sub(chunk.span.start));
                let number = source[..line.start].matches('\n').count();
                // An error beside the one before is most likely its echo.
                if last_line.is_some_and(|last: usize| number <= last + 1) {
                    break;
                }
                diagnostics.push(diagnostic);
                last_line = Some(number);
                let Some(blanked) = blank(&attempt, line) else { break };
                attempt = blanked;
                match Grammar::parse(Rule::file_item, &attempt) {
                    Ok(_) => break,
                    Err(next) => error = next,
                }
            }
            (None, diagnostics)
        }
    }
}

/// A constant on its own: what `--set` gives. Spans count from the start of the text.
pub fn constant(text: &str) -> Option<Expr> {
    // Brackets nest here too, and nobody nests them in a shell.
    if text.len() > 1000 || text.matches(['(', '[', '{']).count() > 8 {
        return None;
    }
    let mut pairs = Grammar::parse(Rule::constant, text).ok()?;
    let mut builder = Builder { offset: 0, diagnostics: vec![] };
    let expr = builder.expr(pairs.next()?);
    builder.diagnostics.is_empty().then_some(expr)
}

/// Returns the line that holds a place, without its break.
pub(super) fn line_of(source: &str, at: usize) -> std::ops::Range<usize> {
    let at = source.floor_char_boundary(at);
    let start = source[..at].rfind(['\n', '\r']).map_or(0, |i| i + 1);
    let end = source[at..].find(['\n', '\r']).map_or(source.len(), |i| at + i);
    start..end
}

/// The text with that line blank, if its brackets are balanced: otherwise the rest would fall apart.
fn blank(source: &str, line: std::ops::Range<usize>) -> Option<String> {
    let count = |c: char| source[line.clone()].matches(c).count();
    let balanced = count('(') == count(')') && count('[') == count(']') && count('{') == count('}');
    let has_text = source[line.clone()].chars().any(|c| !c.is_whitespace());
    if !balanced || !has_text || source[line.clone()].trim_start().starts_with("network") {
        return None;
    }
    let mut out = source.to_string();
    let spaces: String = " ".repeat(line.len());
    out.replace_range(line, &spaces);
    Some(out)
}

struct Builder {
    /// Where the parsed part starts in the file.
    offset: usize,
    diagnostics: Vec<Diagnostic>,
}

type Inner<'i> = pest::iterators::Pairs<'i, Rule>;

impl Builder {
    fn span(&self, pair: &Pair<Rule>) -> Span {
        let span = pair.as_span();
        // A rule that ends in an optional part may span the blanks before it.
        let trimmed = span.as_str().trim_end().len();
        Span::new(self.offset + span.start(), self.offset + span.start() + trimmed)
    }

    fn item(&mut self, pair: Pair<Rule>) -> Item {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        let mut inner = pair.into_inner();
        if rule == Rule::section {
            let word = inner.next().expect("a section has its word");
            let kind = if word.as_str() == "data" { SectionKind::Data } else { SectionKind::Train };
            let word = self.span(&word);
            let entries = self.entries(inner.next().expect("a section has entries"));
            return Item::Section(Section { kind, entries, word, span });
        }
        inner.next();
        let name = self.name(inner.next().expect("an item has a name"));
        let mut parameters = Vec::new();
        let mut body = Vec::new();
        for part in inner {
            match part.as_rule() {
                Rule::parameters => parameters = self.parameters(part),
                _ => body = self.body(part),
            }
        }
        match rule {
            Rule::network => Item::Network(Network { name, parameters, body, span }),
            _ => Item::Block(Block { name, parameters, body, span }),
        }
    }

    fn name(&self, pair: Pair<Rule>) -> Name {
        Name { text: pair.as_str().to_string(), span: self.span(&pair) }
    }

    fn parameters(&mut self, pair: Pair<Rule>) -> Vec<Parameter> {
        let mut out = Vec::new();
        for parameter in pair.into_inner().filter(|p| p.as_rule() == Rule::parameter) {
            let mut inner = parameter.into_inner();
            let name = self.name(inner.next().expect("a parameter has a name"));
            let default = inner.find(|p| p.as_rule() == Rule::expr).map(|e| self.expr(e));
            out.push(Parameter { name, default });
        }
        out
    }

    fn entries(&mut self, pair: Pair<Rule>) -> Vec<Entry> {
        let mut out = Vec::new();
        for entry in pair.into_inner().filter(|p| p.as_rule() == Rule::entry) {
            let mut inner = entry.into_inner();
            let key = self.name(inner.next().expect("an entry has a key"));
            inner.next();
            let value = self.expr(inner.next().expect("an entry has a value"));
            out.push(Entry { key, value });
        }
        out
    }

    fn body(&mut self, pair: Pair<Rule>) -> Vec<Stmt> {
        let braces = |p: &Pair<Rule>| matches!(p.as_rule(), Rule::open_brace | Rule::close_brace);
        pair.into_inner().filter(|p| !braces(p)).map(|p| self.statement(p)).collect()
    }

    fn statement(&mut self, pair: Pair<Rule>) -> Stmt {
        let span = self.span(&pair);
        let rule = pair.as_rule();
        if rule == Rule::expr {
            return Stmt { kind: StmtKind::Expr(self.expr(pair)), span };
        }
        // The keyword comes first; of the rest only names, expressions and bodies carry meaning.
        let wanted = [Rule::name, Rule::list, Rule::expr, Rule::count, Rule::body, Rule::entries];
        let mut inner = pair.into_inner().filter(|p| wanted.contains(&p.as_rule()));
        let mut next = || inner.next().expect("the grammar has it");
        let kind = match rule {
            Rule::defaults => StmtKind::Defaults(self.entries(next())),
            Rule::input => StmtKind::Input { name: self.name(next()), dims: self.expr(next()) },
            Rule::binding => StmtKind::Let { name: self.name(next()), value: self.expr(next()) },
            Rule::output => StmtKind::Output { name: self.name(next()), value: self.expr(next()) },
            Rule::return_statement => StmtKind::Return(self.expr(next())),
            _ => StmtKind::Repeat { count: self.count(next()), body: self.body(next()) },
        };
        Stmt { kind, span }
    }

    fn count(&mut self, pair: Pair<Rule>) -> Expr {
        self.expr(pair.into_inner().next().expect("a count is a sum"))
    }

    fn expr(&mut self, pair: Pair<Rule>) -> Expr {
        let span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::expr => return self.pipeline(pair, span),
            Rule::sum | Rule::product => return self.chain(pair, span),
            Rule::unary => return self.unary(pair, span),
            Rule::group => return self.group(pair, span),
            Rule::number => self.number(pair.as_str(), span),
            Rule::boolean => ExprKind::Bool(pair.as_str() == "true"),
            Rule::text => ExprKind::Text(unescape(pair.as_str())),
            Rule::list => {
                ExprKind::List(pair.into_inner().filter(|p| p.as_rule() == Rule::expr).map(|p| self.expr(p)).collect())
            }
            Rule::call => ExprKind::Call(self.call(pair)),
            _ => ExprKind::Name(pair.as_str().to_string()),
        };
        Expr { kind, span }
    }

    fn group(&mut self, pair: Pair<Rule>, span: Span) -> Expr {
        let inner = pair.into_inner().find(|p| p.as_rule() == Rule::expr).expect("a group holds an expression");
        Expr { span, ..self.expr(inner) }
    }

    fn number(&mut self, digits: &str, span: Span) -> ExprKind {
        let plain = digits.replace('_', "");
        if plain.bytes().all(|b| b.is_ascii_digit()) {
            return plain.parse().map(ExprKind::Int).unwrap_or_else(|_| {
                let d = Diagnostic::error(codes::BAD_NUMBER, span, "this whole number is too large");
                self.diagnostics.push(d.help(format!("the largest is {}", i64::MAX)));
                ExprKind::Int(1)
            });
        }
        let value: f64 = plain.parse().unwrap_or(f64::INFINITY);
        if !value.is_finite() {
            let d = Diagnostic::error(codes::BAD_NUMBER, span, "this number is too large");
            self.diagnostics.push(d.help(format!("the largest is {:e}", f64::MAX)));
            return ExprKind::Float(1.0);
        }
        ExprKind::Float(value)
    }

    fn chain(&mut self, pair: Pair<Rule>, span: Span) -> Expr {
        let mut inner = pair.into_inner();
        let first = self.expr(inner.next().expect("a chain has a first operand"));
        let mut rest = Vec::new();
        while let (Some(op), Some(operand)) = (inner.next(), inner.next()) {
            let op = match op.as_rule() {
                Rule::plus => BinOp::Add,
                Rule::minus => BinOp::Sub,
                Rule::star => BinOp::Mul,
                Rule::slash => BinOp::Div,
                _ => BinOp::Rem,
            };
            rest.push((op, self.expr(operand)));
        }
        if rest.is_empty() {
            return first;
        }
        Expr { kind: ExprKind::Chain(Box::new(first), rest), span }
    }

    fn unary(&mut self, pair: Pair<Rule>, span: Span) -> Expr {
        let mut negative = false;
        let mut signs = false;
        for part in pair.into_inner() {
            if part.as_rule() == Rule::minus {
                negative = !negative;
                signs = true;
                continue;
            }
            let operand = self.expr(part);
            return match (signs, negative) {
                (false, _) => operand,
                (true, true) => Expr { kind: ExprKind::Neg(Box::new(operand)), span },
                // Two signs cancel out, but what they stand before must still be a number.
                (true, false) => {
                    let inner = Expr { kind: ExprKind::Neg(Box::new(operand)), span };
                    Expr { kind: ExprKind::Neg(Box::new(inner)), span }
                }
            };
        }
        unreachable!("the grammar has an operand after the signs")
    }

    fn call(&mut self, pair: Pair<Rule>) -> Call {
        let span = self.span(&pair);
        if pair.as_rule() == Rule::name {
            return Call { function: self.name(pair), arguments: vec![], span };
        }
        let mut inner = pair.into_inner();
        let function = self.name(inner.next().expect("a call has a function"));
        let list = inner.find(|p| p.as_rule() == Rule::arguments).expect("a call has arguments");
        let mut arguments = Vec::new();
        for argument in list.into_inner().filter(|p| p.as_rule() == Rule::argument) {
            let mut name = None;
            let mut value = None;
            for part in argument.into_inner() {
                match part.as_rule() {
                    Rule::name => name = Some(self.name(part)),
                    Rule::expr => value = Some(self.expr(part)),
                    _ => {}
                }
            }
            arguments.push(Argument { name, value: value.expect("an argument has a value") });
        }
        Call { function, arguments, span }
    }

    fn pipeline(&mut self, pair: Pair<Rule>, span: Span) -> Expr {
        let mut inner = pair.into_inner();
        let source = self.expr(inner.next().expect("an expression starts with a value"));
        let (alias, steps) = self.steps(inner, source.span);
        if alias.is_none() && steps.is_empty() {
            return source;
        }
        Expr { kind: ExprKind::Pipe { source: Box::new(source), alias, steps }, span }
    }

    /// `[as name] |> step [as name] |> …`: the alias of what stands before, then the steps.
    fn steps(&mut self, inner: Inner, before: Span) -> (Option<Name>, Vec<Step>) {
        let mut first = None;
        let mut steps: Vec<Step> = Vec::new();
        let mut pipe = before;
        for part in inner {
            match part.as_rule() {
                Rule::pipe => pipe = self.span(&part),
                Rule::alias => {
                    let name = part.into_inner().find(|p| p.as_rule() == Rule::name).expect("`as` has a name");
                    let name = Some(self.name(name));
                    match steps.last_mut() {
                        Some(step) => step.alias = name,
                        None => first = name,
                    }
                }
                Rule::step => steps.push(self.step(part, pipe)),
                _ => {}
            }
        }
        (first, steps)
    }

    fn step(&mut self, pair: Pair<Rule>, pipe: Span) -> Step {
        let span = self.span(&pair);
        let inner = pair.into_inner().next().expect("a step is one of its kinds");
        let kind = if inner.as_rule() == Rule::repeated {
            let mut parts = inner.into_inner();
            let count = parts.find(|p| p.as_rule() == Rule::count).expect("`repeat` has a count");
            let count = Box::new(self.count(count));
            let (_, steps) = self.steps(parts, span);
            StepKind::Repeat { count, steps }
        } else {
            StepKind::Call(self.call(inner))
        };
        Step { kind, alias: None, span, pipe }
    }
}

/// The text between the quotes.
fn unescape(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(quoted);
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}
