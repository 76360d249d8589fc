// Answers what the packages of Segment's Actions make of a trigger: {fql, events} a line in, {parse, matches} a line out.
// An evaluation that throws sends nothing: false.
const readline = require('node:readline')
const { parseFql, validate } = require('@segment/destination-subscriptions')

function matches(ast, event) {
  try {
    return validate(ast, event)
  } catch {
    return false
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { fql, events } = JSON.parse(line)
  const ast = parseFql(fql)
  const answer = { parse: !ast.error, matches: events.map((event) => matches(ast, event)) }
  process.stdout.write(JSON.stringify(answer) + '\n')
})
