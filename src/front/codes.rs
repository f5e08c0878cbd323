//! Every diagnostic's code, in one list. Codes are stable: scripts and editors may rely on them.

macro_rules! codes {
    ($($constant:ident = $code:literal: $meaning:literal),* $(,)?) => {
        $(#[doc = $meaning] pub const $constant: &str = $code;)*

        /// `(code, meaning)`, in the order of the language reference.
        pub const ALL: &[(&str, &str)] = &[$(($code, $meaning)),*];
    };
}

codes! {
    BAD_CHARACTER = "bad-character": "A character that has no place in a model file.",
    SYNTAX = "syntax": "The text does not follow the grammar.",
    UNCLOSED = "unclosed": "A bracket or a string without its other end.",
    BAD_NUMBER = "bad-number": "A number that cannot be read or held.",
    TOO_DEEP = "too-deep": "Nesting beyond the limit.",
    TOO_LARGE = "too-large": "A file, a value or an expansion beyond the limit.",
    VERSION = "version": "A language version that this compiler does not know, or in the wrong place.",
    UNKNOWN_ITEM = "unknown-item": "Something at the top level that is not a network, block, data or train.",
    DUPLICATE_ITEM = "duplicate-item": "A second network, data or train in one file, or a second block of one name.",
    NO_NETWORK = "no-network": "A file without a network.",
    UNKNOWN_NAME = "unknown-name": "A name that nothing has been given.",
    UNKNOWN_FUNCTION = "unknown-function": "A call of a function that does not exist.",
    UNKNOWN_ARGUMENT = "unknown-argument": "An argument that the function does not have.",
    UNKNOWN_KEY = "unknown-key": "A key that `data`, `train` or `defaults` does not have.",
    DUPLICATE_NAME = "duplicate-name": "A name given twice.",
    DUPLICATE_ARGUMENT = "duplicate-argument": "An argument or key given twice.",
    MISSING_ARGUMENT = "missing-argument": "A required argument that is not given.",
    MISSING_KEY = "missing-key": "A required key that `data` or `train` does not have.",
    TOO_MANY_ARGUMENTS = "too-many-arguments": "More arguments without a name than the function takes.",
    OPERANDS = "operands": "A layer with too few or too many values flowing in.",
    WRONG_KIND = "wrong-kind": "A value of the wrong kind: a number where a list is needed, and the like.",
    OUT_OF_RANGE = "out-of-range": "A number outside the bounds of what it is for.",
    UNKNOWN_WORD = "unknown-word": "A word that is none of the possible ones.",
    ARITHMETIC = "arithmetic": "Arithmetic without a result: division by zero, overflow.",
    SHAPE = "shape": "Shapes that do not fit together.",
    NO_WEIGHTS = "no-weights": "A setting of weights given to a layer that has none.",
    MISPLACED = "misplaced": "A statement where it cannot stand.",
    NO_RESULT = "no-result": "A network or block that gives no value.",
    RECURSION = "recursion": "A block that calls itself.",
    CONFLICT = "conflict": "Two settings that exclude each other.",
    BAD_SET = "bad-set": "A value given with --set that does not fit the network's parameters.",
    DATA_SHAPE = "data-shape": "Data that do not fit the network's input or result.",
    SEVERAL_INPUTS = "several-inputs": "A second input: commands feed a network one batch of images.",
    ONE_CLASS = "one-class": "A softmax or a cross entropy over one class, whose probability is always 1.",
    NOT_TRAINABLE = "not-trainable": "A `train` section for a network that no training can work on.",
    CHANNEL_ORDER = "channel-order": "Warning: channels' means that belong to another order of the channels.",
    UNUSED = "unused": "Warning: a value, parameter or block that nothing uses.",
    NO_DATA = "no-data": "Warning: a train section in a file without data.",
}

/// What each code means at length, with a wrong and a right example: a part for each, under its name.
const EXPLAINED: &str = include_str!("codes.md");

/// The long text of a code: sentences, an example that is refused (marked `nin,wrong`) and the same put right.
pub fn explained(code: &str) -> Option<&'static str> {
    let parts = EXPLAINED.split("## ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.into_iter().find(|(name, _)| *name == code).map(|(_, text)| text)
}
