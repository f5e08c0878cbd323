[
  (body)
  (entries)
  (arguments)
  (list)
  (repeat_steps)
] @fold
(comment)+ @fold
