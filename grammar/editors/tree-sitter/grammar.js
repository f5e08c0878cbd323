// The syntax of .nin files for tree-sitter. `nin.pest` two folders above is the definition; `check.sh` beside this
// folder checks that the models and the reference's examples are taken here too.

const list = (rule) => seq(rule, repeat(seq(',', rule)), optional(','));

module.exports = grammar({
  name: 'nin',

  word: ($) => $.name,
  extras: ($) => [/\s/, $.comment],

  rules: {
    file: ($) => seq(optional($.version), repeat(choice($.network, $.block, $.section))),

    version: ($) => seq('nin', $.number),
    network: ($) =>
      seq('network', field('name', $.name), optional($.parameters), field('body', $.body)),
    block: ($) => seq('block', field('name', $.name), $.parameters, field('body', $.body)),
    section: ($) => seq(field('kind', choice('data', 'train')), field('body', $.entries)),

    parameters: ($) => seq('(', optional(list($.parameter)), ')'),
    parameter: ($) => seq(field('name', $.name), optional(seq('=', field('default', $._expression)))),
    entries: ($) => seq('{', repeat(seq($.entry, optional(','))), '}'),
    entry: ($) => seq(field('key', $.name), '=', field('value', $._expression)),

    body: ($) => seq('{', repeat($._statement), '}'),
    _statement: ($) =>
      choice($.defaults, $.input, $.let, $.output, $.return, $.repeat, $.expression_statement),
    defaults: ($) => seq('defaults', $.entries),
    input: ($) => seq('input', field('name', $.name), ':', field('shape', $.list)),
    let: ($) => seq('let', field('name', $.name), '=', field('value', $._expression)),
    output: ($) => seq('output', field('name', $.name), '=', field('value', $._expression)),
    return: ($) => seq('return', field('value', $._expression)),
    repeat: ($) => seq('repeat', field('count', $._sum), field('body', $.body)),
    expression_statement: ($) => $._expression,

    _expression: ($) => choice($._sum, $.pipeline),
    pipeline: ($) =>
      choice(seq($._sum, $.alias), seq($._sum, optional($.alias), repeat1(seq('|>', $._step)))),
    _step: ($) => seq($.step, optional($.alias)),
    alias: ($) => seq('as', field('name', $.name)),
    step: ($) => choice($.repeat_steps, $.call, field('function', $.name)),
    repeat_steps: ($) =>
      seq('repeat', field('count', $._sum), '{', optional('|>'), $._step, repeat(seq('|>', $._step)), '}'),

    _sum: ($) => choice($.binary, $.unary, $._atom),
    binary: ($) =>
      choice(
        prec.left(1, seq($._sum, field('operator', choice('+', '-')), $._sum)),
        prec.left(2, seq($._sum, field('operator', choice('*', '/', '%')), $._sum)),
      ),
    unary: ($) => prec(3, seq('-', $._sum)),
    _atom: ($) => choice($.number, $.boolean, $.string, $.list, $.call, $.name, $.group),
    group: ($) => seq('(', $._expression, ')'),
    list: ($) => seq('[', optional(list($._expression)), ']'),

    call: ($) => prec(4, seq(field('function', $.name), field('arguments', $.arguments))),
    // `let a = b` followed by a line `(c) |> relu` is not a call of `b`: the parenthesis stands right behind the function, as `ninc fmt`
    // puts it. (The language takes blanks between the two as well.)
    arguments: ($) => seq(token.immediate('('), optional(list($.argument)), ')'),
    argument: ($) => choice(seq(field('name', $.name), '=', field('value', $._expression)), field('value', $._expression)),

    name: () => /[A-Za-z_][A-Za-z0-9_]*/,
    number: () => /[0-9][0-9_]*(\.[0-9]+)?([eE][+-]?[0-9]+)?/,
    boolean: () => choice('true', 'false'),
    string: () => /"(\\["\\nt]|[^"\\\r\n])*"/,
    comment: () => token(seq('//', /[^\r\n]*/)),
  },
});
