#!/usr/bin/env bash
# Checks what needs Node or the tree-sitter tool: the extension starts the server and is packaged; the grammar takes all models
# and the reference's examples, and its corpus is theirs. NINC names the program (target/release/ninc unless said).
#
# `npm` comes with Node; the tool is `cargo install tree-sitter-cli` (0.27). A part whose programs are missing is skipped aloud.
set -euo pipefail
cd "$(dirname "$0")"
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
