// One turn of a conversation while it streams: one to four answers growing side by side.

import type { ServerEvent } from "../api/sse";
import type { ChatMessage } from "../api/shapes";
import { Observable, type Schedule } from "./observable";

export type SideState = "waiting" | "starting" | "generating" | "complete" | "stopped" | "failed";

export interface Side {
  model: string;
  text: string;
  state: SideState;
  error: { code: string; message: string } | null;
  message: ChatMessage | null;
}

interface Payload {
  side?: number;
  state?: SideState;
  text?: string;
  code?: string;
  message?: string | ChatMessage;
}

export class ChatTurn extends Observable {
  readonly prompt: string;
  readonly sides: Side[];
  isEnded = false;

  constructor(prompt: string, models: readonly string[], schedule?: Schedule) {
    super(schedule);
    this.prompt = prompt;
    this.sides = models.map((model) => ({
      model,
      text: "",
      state: "waiting",
      error: null,
      message: null,
    }));
  }

  accept(event: ServerEvent): void {
    const payload = JSON.parse(event.data) as Payload;
    if (event.event === "end") this.isEnded = true;
    const side = this.sides[payload.side ?? -1];
    if (side) takePayload(side, event.event, payload);
    this.changed();
  }

  /** The person pressed stop, or the line broke: what has come is kept. */
  end(state: "stopped" | "failed", error: Side["error"] = null): void {
    for (const side of this.sides) {
      if (side.state === "complete" || side.state === "failed" || side.state === "stopped")
        continue;
      side.state = state;
      side.error = error;
    }
    this.isEnded = true;
    this.changed();
  }
}

function takePayload(side: Side, kind: string, payload: Payload): void {
  if (kind === "status" && payload.state) side.state = payload.state;
  if (kind === "delta") {
    side.text += payload.text ?? "";
    side.state = "generating";
  }
  if (kind === "done" && typeof payload.message === "object") {
    side.message = payload.message;
    side.text = payload.message.content;
    side.state = payload.message.state;
  }
  if (kind === "error") {
    side.state = "failed";
    const message = typeof payload.message === "string" ? payload.message : "";
    side.error = { code: payload.code ?? "unexpected", message };
  }
}
