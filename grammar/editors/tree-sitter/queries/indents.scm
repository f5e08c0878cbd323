[
  (body)
  (entries)
  (arguments)
  (list)
  (group)
  (parameters)
  (repeat_steps)
  (pipeline)
] @indent.begin

["}" "]" ")"] @indent.branch @indent.end
(comment) @indent.auto
