pub fn format(text: &str, _items: &[super::ast::Item]) -> String { text.into() }
