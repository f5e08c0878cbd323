// The corpus of the grammar, made of the reference's examples.
//
//     node corpus.js                  writes test/corpus/reference.txt; `tree-sitter test --update` then fills in the trees
//     node corpus.js --check          fails if the examples there are not the reference's
//     node corpus.js --examples DIR   writes each example as a file
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const reference = fs.readFileSync(path.join(__dirname, '../../README.md'), 'utf8');
const file = path.join(__dirname, 'test/corpus/reference.txt');
const line = '='.repeat(40);

/** The examples that are right, with the heading that they stand under and their number there. */
function examples() {
  const found = [];
  for (const section of reference.split(/^## /m).slice(1)) {
    const heading = section.split('\n', 1)[0];
    const blocks = [...section.matchAll(/^```nin\n([^]*?)^```$/gm)];
    blocks.forEach((block, i) => found.push({ name: `${heading} ${i + 1}`, text: block[1].trimEnd() }));
  }
  return found;
}

/** The examples of the corpus without their trees. */
function corpus() {
  const parts = fs.readFileSync(file, 'utf8').split(new RegExp(`^${line}\n`, 'm')).slice(1);
  const found = [];
  for (let i = 0; i + 1 < parts.length; i += 2) {
    found.push({ name: parts[i].trim(), text: parts[i + 1].split(/^---$/m)[0].trim() });
  }
  return found;
}

const [option, folder] = process.argv.slice(2);
if (option === '--examples') {
  examples().forEach(({ text }, i) => fs.writeFileSync(path.join(folder, `${i}.nin`), text + '\n'));
} else if (option === '--check') {
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b.map(({ name, text }) => ({ name, text: text.trim() })));
  if (examples().length < 15 || !same(corpus(), examples())) {
    console.error('the corpus is not that of the reference: `node corpus.js && tree-sitter test --update`');
    process.exit(1);
  }
} else {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const one = ({ name, text }) => `${line}\n${name}\n${line}\n\n${text}\n\n---\n\n(file)\n`;
  fs.writeFileSync(file, examples().map(one).join('\n'));
}
