// For each text: how many parts it is sent as, and in which alphabet.
const { SegmentedMessage } = require("sms-segments-calculator");
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
const answers = lines.map((line) => {
  const message = new SegmentedMessage(JSON.parse(line), "auto");
  return JSON.stringify([message.segmentsCount, message.encodingName]);
});
process.stdout.write(answers.join("\n") + "\n");
