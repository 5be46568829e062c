import { afterEach, describe, expect, it, vi } from "vitest";
import {
  decodeText,
  fence,
  hasTensors,
  languageOf,
  MOST_SHOWN_BYTES,
  readStart,
} from "./fileStart";

const bytes = (...values: number[]) => new Uint8Array(values);

describe("the beginning of a file", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("is text where it is UTF-8, also where the limit cuts a letter", () => {
    expect(decodeText(new TextEncoder().encode("你好"))).toBe("你好");
    expect(decodeText(bytes(0x61, 0xe4, 0xbd))).toBe("a");
    expect(decodeText(bytes(0x61, 0))).toBeNull();
    expect(decodeText(bytes(0xff, 0xfe))).toBeNull();
  });

  it("is asked for by a range, and no more is read where all is sent", async () => {
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1;
        controller.enqueue(new Uint8Array(200 * 1024).fill(97));
      },
    });
    const fetch = vi.fn<(url: string, options: RequestInit) => Promise<Response>>(() =>
      Promise.resolve(new Response(body, { status: 200 })),
    );
    vi.stubGlobal("fetch", fetch);
    vi.stubGlobal("document", { cookie: "" });
    const { text, numBytes } = await readStart("/f", 10 ** 10, new AbortController().signal);
    expect(numBytes).toBe(MOST_SHOWN_BYTES);
    expect(text?.length).toBe(MOST_SHOWN_BYTES);
    expect(sent).toBeLessThan(6);
    expect(fetch.mock.calls[0]?.[1].headers).toMatchObject({ Range: "bytes=0-524287" });
  });

  it("of an empty file is not asked for", async () => {
    expect(await readStart("/f", 0, new AbortController().signal)).toEqual({
      text: "",
      numBytes: 0,
    });
  });

  it("cannot break out of the block it is shown in", () => {
    expect(fence("a ```` b", "json")).toBe("`````json\na ```` b\n`````");
  });

  it("is told by its name", () => {
    expect([languageOf("a/B.JSON"), languageOf("LICENSE")]).toEqual(["json", ""]);
    expect([hasTensors("m.GGUF"), hasTensors("m.bin")]).toEqual([true, false]);
  });
});
