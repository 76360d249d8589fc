// One JSON line in: {"fql": text, "events": […]}. One out: {"printed": their text of it, or null, "matches": […]}.
const readline = require('node:readline')
const { generateFql, parseFql, validate } = require('@segment/destination-subscriptions')

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { fql, events } = JSON.parse(line)
  const tree = parseFql(fql)
  const answer = tree.error
    ? { printed: null, matches: events.map(() => false) }
    : { printed: generateFql(tree), matches: events.map((event) => validate(tree, event)) }
  process.stdout.write(JSON.stringify(answer) + '\n')
})
