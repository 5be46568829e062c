import { describe, expect, it } from "vitest";
import { ChatTurn } from "./chatTurn";

const now = (wake: () => void) => wake();
const say = (turn: ChatTurn, event: string, data: object) =>
  turn.accept({ event, data: JSON.stringify(data) });

describe("a turn that streams", () => {
  it("grows each side from its own pieces only", () => {
    const turn = new ChatTurn("hi", ["base", "tuned"], now);
    say(turn, "status", { side: 1, state: "starting" });
    say(turn, "delta", { side: 0, text: "Hel" });
    say(turn, "delta", { side: 1, text: "炉" });
    say(turn, "delta", { side: 0, text: "lo" });
    expect(turn.sides.map((side) => side.text)).toEqual(["Hello", "炉"]);
  });

  it("keeps what has come when it is stopped", () => {
    const turn = new ChatTurn("hi", ["base", "tuned"], now);
    say(turn, "done", { side: 0, message: { content: "whole", state: "complete" } });
    say(turn, "delta", { side: 1, text: "half" });
    turn.end("stopped");
    expect(turn.sides.map((side) => [side.text, side.state])).toEqual([
      ["whole", "complete"],
      ["half", "stopped"],
    ]);
  });

  it("fails one side without touching the other", () => {
    const turn = new ChatTurn("hi", ["base", "tuned"], now);
    say(turn, "error", { side: 0, code: "unavailable", message: "away" });
    say(turn, "delta", { side: 1, text: "ok" });
    say(turn, "end", {});
    expect(turn.sides[0]?.error).toEqual({ code: "unavailable", message: "away" });
    expect(turn.sides[1]?.state).toBe("generating");
    expect(turn.isEnded).toBe(true);
  });

  it("wakes its readers once for many pieces of one frame", () => {
    let wake: () => void = () => undefined;
    const turn = new ChatTurn("hi", ["base"], (callback) => (wake = callback));
    let numWakes = 0;
    turn.subscribe(() => (numWakes += 1));
    for (let i = 0; i < 50; i++) say(turn, "delta", { side: 0, text: "x" });
    wake();
    expect(numWakes).toBe(1);
  });
});
