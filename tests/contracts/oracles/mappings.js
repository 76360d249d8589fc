// For every line {mapping, event}: {ok: what @segment/actions-core makes of them} or {error: its message}.
// An undefined list slot is written {"$undefined": true}; an undefined result too.
'use strict'
const readline = require('node:readline')
const { transform } = require('@segment/actions-core')

function marked(value) {
  if (value === undefined) return { $undefined: true }
  if (Array.isArray(value)) return Array.from(value, marked)
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, marked(inner)]))
  }
  return value
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  // Parsed here, and for each line anew: `transform` fills in the mapping that it is given.
  const { mapping, event } = JSON.parse(line)
  let answer
  try {
    answer = { ok: marked(transform(mapping, event)) }
  } catch (error) {
    answer = { error: String(error.message) }
  }
  // ASCII, so that no character of a text looks like the end of a line.
  const escaped = (unit) => '\\u' + unit.charCodeAt(0).toString(16).padStart(4, '0')
  process.stdout.write(JSON.stringify(answer).replace(/[^\x20-\x7e]/g, escaped) + '\n')
})
