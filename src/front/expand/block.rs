//! Calls of blocks.

use super::{Expander, MAX_BLOCKS};
use crate::front::ast::{Block, Call, Name};
use crate::front::bind::{Given, Signature, bind};
use crate::front::codes;
use crate::front::diag::{Diagnostic, Span};
use crate::front::evaluate::Evaluator;
use crate::front::scope::{Scope, Value};

impl Expander<'_> {
    /// Expands a block.
    pub(super) fn block(
        &mut self,
        block: &Block,
        call: &Call,
        piped: Option<(Value, Span)>,
        alias: Option<&Name>,
    ) -> Value {
        let name = &block.name.text;
        if self.sink.blocks().any(|b| b == name) {
            let message = format!("the block `{name}` calls itself");
            let d = Diagnostic::error(codes::RECURSION, call.function.span, message);
            return self.fail(d.help("`repeat N { … }` repeats steps a known number of times"));
        }
        if self.sink.blocks().len() >= MAX_BLOCKS {
            let message = format!("blocks call blocks more than {MAX_BLOCKS} deep");
            return self.fail(Diagnostic::error(codes::TOO_DEEP, call.function.span, message));
        }
        let Some(given) = self.block_arguments(block, call, piped) else { return Value::Poison };
        if self.names_only && !self.walked.insert(block.name.span) {
            return Value::Poison;
        }
        let own = self.layer_name(name, alias);
        let inner = Scope::new(format!("{own}."), self.out.scope.settings.clone(), &block.body, true);
        let outer = std::mem::replace(&mut self.out.scope, inner);
        self.sink.enter(name, call.span);
        for (parameter, value) in block.parameters.iter().zip(given) {
            let value = match (value, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.evaluate(default),
                (None, None) => Value::Poison,
            };
            self.bind_parameter(&parameter.name, value);
        }
        let before = self.out.layers.len();
        self.statements(&block.body);
        self.warn_unused();
        self.sink.leave();
        let inner = std::mem::replace(&mut self.out.scope, outer);
        if let Some(trace) = self.trace {
            trace.block(call.span, &own, before..self.out.layers.len(), inner.result.as_ref());
        }
        match inner.result {
            Some(Value::Node(value)) => {
                // The value that leaves the block carries the call's name, if it was made within.
                if self.out.layers[before..].iter().any(|l| l.value == value) {
                    self.out.graph.set_name(value, own);
                    self.out.places.insert(value, call.span);
                }
                Value::Node(value)
            }
            Some(other) => other,
            None if self.out.stopped => Value::Poison,
            None => {
                let message = format!("the block `{name}` has no `return`");
                let d = Diagnostic::error(codes::NO_RESULT, block.name.span, message);
                self.fail(d.help("end it with `return …`"))
            }
        }
    }

    /// Returns the values of a block's parameters in order; `None` where the default holds.
    fn block_arguments(
        &mut self,
        block: &Block,
        call: &Call,
        piped: Option<(Value, Span)>,
    ) -> Option<Vec<Option<Value>>> {
        let evaluated: Vec<_> = call
            .arguments
            .iter()
            .map(|argument| Given { argument, value: Some(self.evaluate(&argument.value)) })
            .collect();
        let signature = Signature::block(block);
        let bound = bind(&signature, piped.as_ref().map(|(_, span)| *span), evaluated, self.sink);
        if bound.failed {
            return None;
        }
        let mut values: Vec<Option<Value>> =
            bound.arguments.into_iter().map(|given| given.and_then(|given| given.value)).collect();
        if let (Some((value, _)), Some(first)) = (piped, values.first_mut()) {
            *first = Some(value);
        }
        if let Some(d) = signature.missing(|i| values[i].is_some(), call.function.span) {
            self.sink.report(d);
            return None;
        }
        Some(values)
    }
}
