//! What the syntax tree says of places in the text.

use crate::front::ast::{Entry, Expr, ExprKind, Item, Parameter, Step, StepKind, Stmt, StmtKind};
use crate::front::visit::{Visitor, walk_expr, walk_statement};
use std::collections::{HashMap, HashSet};

/// What the tree says of places in the text (all are offsets of tokens' first bytes).
#[derive(Default)]
pub struct Marks {
    /// Top-level items.
    pub items: HashSet<usize>,
    /// Statements and keys: each begins a line, unless its brace stays on one line.
    pub starts: HashSet<usize>,
    /// Keys of `data` and `train`, whose `=` are aligned.
    pub aligned: HashSet<usize>,
    /// `|>` to its pipeline.
    pub pipes: HashMap<usize, usize>,
    /// Name after `as` to its pipeline.
    pub aliases: HashMap<usize, usize>,
    /// The pipelines whose first value starts at an offset.
    pub pipelines: HashMap<usize, Vec<usize>>,
    /// How many pipelines there are.
    pub count: usize,
    /// Last statement's or key's words before braces that may stay on one line: `defaults`, `repeat`.
    pub short: HashSet<usize>,
}

impl Marks {
    /// Adds the places in one item.
    pub fn item(&mut self, item: &Item) {
        match item {
            Item::Network(network) => {
                self.items.insert(network.span.start);
                self.parameters(&network.parameters);
                self.body(&network.body);
            }
            Item::Block(block) => {
                self.items.insert(block.span.start);
                self.parameters(&block.parameters);
                self.body(&block.body);
            }
            Item::Section(section) => {
                self.items.insert(section.span.start);
                self.aligned.extend(section.entries.iter().map(|e| e.key.span.start));
                section.entries.iter().for_each(|entry| self.entry(entry));
            }
        }
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        parameters.iter().filter_map(|p| p.default.as_ref()).for_each(|e| self.expr(e));
    }
}

impl<'a> Visitor<'a> for Marks {
    fn statement(&mut self, statement: &'a Stmt) {
        let start = statement.span.start;
        self.starts.insert(start);
        let short = match &statement.kind {
            StmtKind::Defaults(_) => true,
            StmtKind::Repeat { body, .. } => body.len() <= 1,
            _ => false,
        };
        if short {
            self.short.insert(start);
        }
        walk_statement(self, statement);
    }

    fn entry(&mut self, entry: &'a Entry) {
        self.starts.insert(entry.key.span.start);
        self.expr(&entry.value);
    }

    fn expr(&mut self, expr: &'a Expr) {
        walk_expr(self, expr);
        if let ExprKind::Pipe { alias: Some(alias), .. } = &expr.kind {
            // The pipeline that began here last: those within its first value began before it.
            let group = self.pipelines.get(&expr.span.start).and_then(|groups| groups.last());
            self.aliases.extend(group.map(|group| (alias.span.start, *group)));
        }
    }

    fn steps(&mut self, steps: &'a [Step], start: usize) {
        let group = self.count;
        self.count += 1;
        self.pipelines.entry(start).or_default().push(group);
        for step in steps {
            self.pipes.insert(step.pipe.start, group);
            self.aliases.extend(step.alias.iter().map(|a| (a.span.start, group)));
            if let StepKind::Repeat { .. } = &step.kind {
                self.short.insert(step.span.start);
            }
            self.step(step);
        }
    }
}
