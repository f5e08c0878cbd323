#!/usr/bin/env bash
# Checks what needs Node, the tree-sitter tool or Neovim: the extension starts the server and is packaged; the grammar takes all
# models and the reference's examples, and its corpus is theirs; Neovim works with the settings of README.md. NINC names the program (target/release/ninc unless said).
#
# `npm` comes with Node; the tool is `cargo install tree-sitter-cli` (0.27). A part whose programs are missing is skipped aloud.
set -euo pipefail
cd "$(dirname "$0")"
editors=$PWD
export NINC=${NINC:-$(cd ../.. && pwd)/target/release/ninc}

if command -v npm >/dev/null; then
    (cd vscode && npm ci --no-audit --no-fund && npm test && npm run package)
else
    echo "SKIPPED: the extension: there is no npm"
fi

if command -v tree-sitter >/dev/null && command -v node >/dev/null; then
    cd tree-sitter
    tree-sitter generate
    node corpus.js --check
    tree-sitter test
    examples=$(mktemp -d)
    node corpus.js --examples "$examples"
    for file in ../../../models/*.nin ../../../models/paper/*.nin "$examples"/*.nin; do
        tree-sitter parse --quiet "$file" || { echo "$file has an ERROR" >&2; exit 1; }
        for query in queries/*.scm; do
            tree-sitter query --quiet "$query" "$file" >/dev/null
        done
    done
    rm -r "$examples"
else
    echo "SKIPPED: the grammar: there is no tree-sitter, or no node"
fi

# Neovim by the settings that README.md shows, with the grammar where there is one.
if command -v nvim >/dev/null; then
    cd "$editors"
    place=$(mktemp -d)
    awk '/^```lua$/ { on = 1; next } /^```$/ { on = 0 } on' README.md > "$place/init.lua"
    if command -v tree-sitter >/dev/null && command -v node >/dev/null; then
        mkdir -p "$place/site/parser" "$place/site/queries"
        tree-sitter build -o "$place/site/parser/nin.so" tree-sitter
        cp -r tree-sitter/queries "$place/site/queries/nin"
        echo "vim.opt.runtimepath:prepend('$place/site')" >> "$place/init.lua"
        export GRAMMAR=1
    fi
    mkdir "$place/bin" && ln -s "$NINC" "$place/bin/ninc"
    FILE=$(cd ../../models && pwd)/cifar10.nin PATH="$place/bin:$PATH" XDG_STATE_HOME="$place" \
        nvim --headless --clean -u "$place/init.lua" -c 'luafile neovim.lua'
    rm -r "$place"
else
    echo "SKIPPED: Neovim: there is no nvim"
fi
