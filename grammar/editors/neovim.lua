-- Drives Neovim with the settings of README.md over a model file, and fails where the server or the grammar give less than
-- they should: `FILE=MODEL.nin nvim --headless --clean -u SETTINGS -c 'luafile neovim.lua'`. GRAMMAR=1 also tries the grammar.
local function check()
  local folder = vim.fn.tempname()
  vim.fn.mkdir(folder)
  local text = vim.fn.readfile(vim.env.FILE)
  local place
  for number, line in ipairs(text) do
    local column = line:find('mlpconv%(')
    if column then place = { line = number - 1, character = column - 1 } break end
  end
  assert(place, 'the model has no mlpconv')

  local function open(name, lines)
    vim.fn.writefile(lines, folder .. '/' .. name)
    vim.cmd.edit(folder .. '/' .. name)
    assert(vim.bo.filetype == 'nin', 'the file type is ' .. vim.bo.filetype)
    local function client() return vim.lsp.get_clients({ bufnr = 0, name = 'ninc' })[1] end
    assert(vim.wait(20000, function() return client() and client().initialized end), 'the server does not attach')
    return client()
  end
  local function ask(client, method, more)
    local document = vim.lsp.util.make_text_document_params(0)
    local reply, problem = client:request_sync(method, vim.tbl_extend('error', { textDocument = document }, more or {}), 20000, 0)
    assert(reply and reply.result, method .. ': ' .. vim.inspect(problem or reply))
    return reply.result
  end

  -- One layer of another name: a diagnostic with the way out.
  local broken = vim.deepcopy(text)
  broken[place.line + 1] = broken[place.line + 1]:gsub('mlpconv%(', 'mlpcnov(')
  open('broken.nin', broken)
  assert(vim.wait(20000, function() return #vim.diagnostic.get(0) > 0 end), 'no diagnostics')
  local first = vim.diagnostic.get(0)[1]
  assert(first.lnum == place.line and first.message:find('did you mean `mlpconv`'), vim.inspect(first))

  local client = open('whole.nin', text)
  assert(ask(client, 'textDocument/hover', { position = place }).contents.value:find('multiply%-adds'), 'no hover')
  local after = { line = place.line, character = place.character + 3 }
  local found = ask(client, 'textDocument/completion', { position = after })
  local labels = vim.tbl_map(function(item) return item.label end, found.items or found)
  assert(vim.tbl_contains(labels, 'mlpconv'), 'completion: ' .. table.concat(labels, ' '))
  assert(#ask(client, 'textDocument/documentSymbol') > 0 and #ask(client, 'textDocument/foldingRange') > 0)
  assert(vim.wait(20000, function() return #vim.lsp.inlay_hint.get({ bufnr = 0 }) > 0 end), 'no inlay hints')
  assert(#vim.diagnostic.get(0) == 0, vim.inspect(vim.diagnostic.get(0)))
  vim.api.nvim_buf_set_lines(0, place.line, place.line, false, { '', '', '' })
  vim.lsp.buf.format({ async = false })
  assert(vim.api.nvim_buf_line_count(0) < #text + 3, 'nothing is formatted')
  assert(vim.bo.commentstring == '// %s', 'comments begin with ' .. vim.bo.commentstring)

  if vim.env.GRAMMAR then
    vim.treesitter.start()
    for _, kind in ipairs({ 'highlights', 'folds', 'indents' }) do
      assert(#vim.treesitter.query.get('nin', kind).captures > 0, kind)
    end
    local root = vim.treesitter.get_parser(0):parse()[1]:root()
    assert(not root:has_error(), 'the grammar finds an error')
    local line = vim.fn.search('mlpconv(', 'w') - 1
    local column = vim.fn.getline(line + 1):find('mlpconv%(') - 1
    local captures = vim.treesitter.get_captures_at_pos(0, line, column)
    assert(captures[#captures].capture == 'function.call', vim.inspect(captures))
  end
end

local good, problem = pcall(check)
io.stdout:write(good and 'Neovim: all there\n' or ('Neovim: ' .. tostring(problem) .. '\n'))
vim.cmd(good and 'qa!' or 'cquit 1')
