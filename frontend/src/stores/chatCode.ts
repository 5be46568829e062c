// The same chat call as code, for the OpenAI-compatible address.

import type { ChatSettings } from "../api/shapes";

export interface ChatCall {
  origin: string;
  model: string;
  prompt: string;
  settings: ChatSettings;
}

function bodyOf({ model, prompt, settings }: ChatCall) {
  const messages = [
    ...(settings.system ? [{ role: "system", content: settings.system }] : []),
    { role: "user", content: prompt },
  ];
  const { temperature, top_p, max_tokens, seed } = settings;
  return { model, messages, temperature, top_p, max_tokens, ...(seed !== null && { seed }) };
}

export function asCurl(call: ChatCall): string {
  // A quote inside single quotes has to leave them, say itself, and come back.
  const body = JSON.stringify(bodyOf(call), null, 2).replaceAll("'", `'\\''`);
  return [
    `curl ${call.origin}/v1/chat/completions \\`,
    '  -H "Authorization: Bearer $ATHANOR_TOKEN" \\',
    '  -H "Content-Type: application/json" \\',
    `  -d '${body}'`,
  ].join("\n");
}

export function asPython(call: ChatCall): string {
  const { messages, ...rest } = bodyOf(call);
  // JSON texts and numbers are Python's too; `messages` holds nothing else.
  const lines = Object.entries(rest).map(([key, value]) => `    ${key}=${JSON.stringify(value)},`);
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${call.origin}/v1", api_key=os.environ["ATHANOR_TOKEN"])
answer = client.chat.completions.create(
    messages=${JSON.stringify(messages)},
${lines.join("\n")}
)
print(answer.choices[0].message.content)`;
}

export function asJavaScript(call: ChatCall): string {
  const body = JSON.stringify(bodyOf(call), null, 2).replaceAll("\n", "\n  ");
  return `const response = await fetch("${call.origin}/v1/chat/completions", {
  method: "POST",
  headers: {
    Authorization: \`Bearer \${process.env.ATHANOR_TOKEN}\`,
    "Content-Type": "application/json",
  },
  body: JSON.stringify(${body}),
});
const answer = await response.json();
console.log(answer.choices[0].message.content);`;
}
