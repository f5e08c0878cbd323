(comment) @comment
(string) @string
(number) @number
(boolean) @boolean

["network" "block" "data" "train" "nin" "defaults" "input" "let" "output" "return" "repeat" "as"] @keyword
["|>" "+" "-" "*" "/" "%" "="] @operator
["(" ")" "[" "]" "{" "}"] @punctuation.bracket
["," ":"] @punctuation.delimiter

(name) @variable
(network name: (name) @module)
(block name: (name) @function)
(parameter name: (name) @variable.parameter)
(call function: (name) @function.call)
(step function: (name) @function.call)
(argument name: (name) @variable.parameter)
(entry key: (name) @property)
(alias name: (name) @variable)
