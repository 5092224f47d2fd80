// The official TypeScript SDK's side of `test_served`: a model's name a line, each answered with one line: the final
// message that the SDK builds of what the server at argv[3] streams for it, or what it died of.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { default: Anthropic } = await import(pathToFileURL(process.argv[2]).href);
const client = new Anthropic({ apiKey: "none", baseURL: process.argv[3], maxRetries: 0 });

for await (const model of createInterface({ input: process.stdin })) {
  let found;
  try {
    const asked = { model, max_tokens: 9, messages: [{ role: "user", content: "Hi" }] };
    found = { message: await client.beta.messages.stream(asked).finalMessage() };
  } catch (error) {
    found = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(found) + "\n");
}
