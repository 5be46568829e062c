import { describe, expect, it } from "vitest";
import { SseParser, readEvents } from "./sse";
import { waitBefore } from "./socket";

const STREAM =
  'event: delta\ndata: {"text":"炉"}\n\n: a comment\r\n\r\nevent: end\r\ndata: one\r\ndata: two\r\n\r\ndata: bare\n\n';
const WANTED = [
  { event: "delta", data: '{"text":"炉"}' },
  { event: "end", data: "one\ntwo" },
  { event: "message", data: "bare" },
];

describe("server-sent events", () => {
  it("come out the same wherever the stream is cut", () => {
    for (let cut = 0; cut <= STREAM.length; cut++) {
      const parser = new SseParser();
      const events = [...parser.push(STREAM.slice(0, cut)), ...parser.push(STREAM.slice(cut))];
      expect(events, `cut at ${cut}`).toEqual(WANTED);
    }
  });

  it("come out of bytes cut inside a character", async () => {
    const bytes = new TextEncoder().encode(STREAM);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    const events = [];
    for await (const event of readEvents(body)) events.push(event);
    expect(events).toEqual(WANTED);
  });
});

describe("coming back after a lost socket", () => {
  it("waits longer each time, up to ten seconds, and never all at once", () => {
    expect(waitBefore(0, 1)).toBe(400);
    expect(waitBefore(3, 1)).toBe(3200);
    expect(waitBefore(30, 1)).toBe(10_000);
    expect(waitBefore(30, 0)).toBe(5000);
  });
});
