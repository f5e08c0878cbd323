//! What each word is, for colours (semantic tokens).

use super::document::Document;
use crate::front::lex::TokenKind;
use crate::front::outline::Role;
use lsp_types::{SemanticToken, SemanticTokenType, SemanticTokens, SemanticTokensLegend};

const TYPES: [SemanticTokenType; 9] = [
    SemanticTokenType::KEYWORD,
    SemanticTokenType::FUNCTION,
    SemanticTokenType::PARAMETER,
    SemanticTokenType::VARIABLE,
    SemanticTokenType::PROPERTY,
    SemanticTokenType::STRING,
    SemanticTokenType::NUMBER,
    SemanticTokenType::COMMENT,
    SemanticTokenType::OPERATOR,
];

/// The kinds in the order of their numbers.
pub fn legend() -> SemanticTokensLegend {
    SemanticTokensLegend { token_types: TYPES.to_vec(), token_modifiers: vec![] }
}

/// The tokens of a text, each relative to the one before.
pub fn tokens(document: &Document) -> SemanticTokens {
    let outline = document.outline();
    let mut words = outline.words.iter().peekable();
    let mut before = (0, 0);
    let mut data = vec![];
    for token in &outline.tokens {
        while words.peek().is_some_and(|word| word.span.start < token.span.start) {
            words.next();
        }
        let role = words.peek().filter(|word| word.span == token.span).map(|word| word.role);
        let kind = match token.kind {
            TokenKind::Word => match role {
                Some(Role::Item | Role::Keyword) => SemanticTokenType::KEYWORD,
                Some(Role::Function | Role::ItemName) => SemanticTokenType::FUNCTION,
                Some(Role::Argument) => SemanticTokenType::PARAMETER,
                Some(Role::Key) => SemanticTokenType::PROPERTY,
                Some(Role::Stray) | None => continue,
                Some(_) => SemanticTokenType::VARIABLE,
            },
            TokenKind::Number => SemanticTokenType::NUMBER,
            TokenKind::Text | TokenKind::OpenText => SemanticTokenType::STRING,
            TokenKind::Comment => SemanticTokenType::COMMENT,
            TokenKind::Sign if token.text(&document.text) == "|>" => SemanticTokenType::OPERATOR,
            TokenKind::Sign | TokenKind::Bad => continue,
        };
        let range = document.range(token.span);
        let (line, column) = (range.start.line, range.start.character);
        let delta_line = line - before.0;
        data.push(SemanticToken {
            delta_line,
            delta_start: if delta_line == 0 { column - before.1 } else { column },
            length: range.end.character.saturating_sub(column),
            token_type: TYPES.iter().position(|t| *t == kind).unwrap_or(0) as u32,
            token_modifiers_bitset: 0,
        });
        before = (line, column);
    }
    SemanticTokens { result_id: None, data }
}
