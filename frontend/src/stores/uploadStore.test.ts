import { describe, expect, it } from "vitest";
import { UploadStore, type Hearer, type UploadItem } from "./uploadStore";

const file = (name: string, size = 100) => ({ name, size }) as File;

function makeStore() {
  const hearers = new Map<string, Hearer>();
  const calls: string[] = [];
  let now = 0;
  const store = new UploadStore(
    () =>
      Promise.resolve((item: UploadItem, hear: Hearer) => {
        hearers.set(item.relativePath, hear);
        const note = (what: string) => () => void calls.push(`${what} ${item.relativePath}`);
        return { pause: note("pause"), resume: note("resume"), stop: note("stop") };
      }),
    (wake) => wake(),
    () => now,
  );
  const hear = (name: string): Hearer => {
    const found = hearers.get(name);
    if (!found) throw new Error(`${name} was not started`);
    return found;
  };
  return { store, hearers, hear, calls, tick: (ms: number) => (now += ms) };
}

const add = (store: UploadStore, ...names: string[]) =>
  store.add(
    names.map((name) => ({ file: file(name), relativePath: name })),
    "",
  );

describe("the uploads", () => {
  it("sends three at once and the next when one ends, well or not", async () => {
    const { store, hearers, hear } = makeStore();
    await add(store, "a", "b", "c", "d", "e");
    expect([...hearers.keys()]).toEqual(["a", "b", "c"]);
    hear("a").done();
    hear("b").failed(new Error("no"));
    await Promise.resolve();
    await Promise.resolve();
    expect([...hearers.keys()]).toEqual(["a", "b", "c", "d", "e"]);
    expect(store.items.map((item) => item.state).slice(0, 2)).toEqual(["done", "failed"]);
    expect(store.numLiving).toBe(3);
  });

  it("tells the rate from what was sent, and none while the line is down", async () => {
    const { store, hear, tick } = makeStore();
    await add(store, "a");
    hear("a").progress(0);
    tick(1000);
    hear("a").progress(50);
    expect(store.items[0]?.bytesPerS).toBe(50);
    hear("a").retrying();
    expect(store.items[0]).toMatchObject({ state: "retrying", bytesPerS: 0, sentBytes: 50 });
  });

  it("pauses, goes on, stops, and clears what has ended", async () => {
    const { store, hear, calls } = makeStore();
    await add(store, "a", "b");
    const [a, b] = store.items.map((item) => item.id) as [number, number];
    store.pause(a);
    store.resume(a);
    store.stop(b);
    expect(calls).toEqual(["pause a", "resume a", "stop b"]);
    hear("a").done();
    store.clearEnded();
    expect(store.items).toEqual([]);
  });
});
