// The official TypeScript SDK's side of `test_official_sdks`: bodies of streams, one in base64 a line, each answered with
// one line: the final message that the SDK builds, or what it died of.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { default: Anthropic } = await import(pathToFileURL(process.argv[2]).href);

async function read(body) {
  const answer = new Response(body, { headers: { "content-type": "text/event-stream" } });
  const client = new Anthropic({ apiKey: "none", maxRetries: 0, fetch: async () => answer });
  const asked = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "Hi" }] };
  return await client.beta.messages.stream(asked).finalMessage();
}

for await (const line of createInterface({ input: process.stdin })) {
  let found;
  try {
    found = { message: await read(Buffer.from(line, "base64")) };
  } catch (error) {
    found = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(found) + "\n");
}
