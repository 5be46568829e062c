// The socket of one terminal: bytes both ways, and a way back by itself when it is cut off.

import { waitBefore } from "../api/socket";

export type LinkState =
  | "connecting"
  | "open"
  | "waiting" // it comes back by itself
  | "stopped" // the machine does not run
  | "idle"
  | "ended" // the shell itself has
  | "refused";

export interface LinkEvents {
  onBytes: (bytes: Uint8Array, shown: () => void) => void;
  /** A shell is there: `kept` are those that stay in the machine, null where none can. */
  onOpen: (kept: string[] | null) => void;
  onState: (state: LinkState) => void;
}

// As `studio.machines.consumers` closes.
const STATES: Record<number, LinkState> = {
  1000: "ended",
  4401: "refused",
  4404: "refused",
  4408: "idle",
  4409: "stopped",
};

export class TerminalLink {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #numFailures = 0;
  #size = { columns: 80, rows: 24 };
  readonly #encoder = new TextEncoder();
  readonly #path: string;
  readonly #shell: string;
  readonly #events: LinkEvents;

  constructor(machineKey: string, shell: string, events: LinkEvents) {
    this.#path = `/ws/machines/${machineKey}/terminal/`;
    this.#shell = shell;
    this.#events = events;
  }

  open(): void {
    this.#drop();
    this.#events.onState("connecting");
    const query = new URLSearchParams({
      shell: this.#shell,
      columns: String(this.#size.columns),
      rows: String(this.#size.rows),
    });
    const address = new URL(`${this.#path}?${query}`, location.href.replace(/^http/, "ws"));
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (typeof data === "string") this.#heed(JSON.parse(data) as Record<string, unknown>);
      else this.#events.onBytes(new Uint8Array(data), () => this.#say("read", data.byteLength));
    };
    socket.onclose = ({ code }) => this.#lost(code);
  }

  /** Send what was typed: text as UTF-8, bytes as they are. */
  type(typed: string | Uint8Array<ArrayBuffer>): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#socket.send(typeof typed === "string" ? this.#encoder.encode(typed) : typed);
  }

  resize(columns: number, rows: number): void {
    this.#size = { columns, rows };
    this.#send({ type: "size", columns, rows });
  }

  /** End the shell itself. */
  kill(): void {
    this.#send({ type: "kill" });
  }

  /** Leave; a shell that is kept stays. */
  close(): void {
    this.#drop();
  }

  #heed(said: Record<string, unknown>): void {
    if (said.type !== "opened") return;
    this.#numFailures = 0;
    this.#events.onOpen(said.kept as string[] | null);
    this.#events.onState("open");
    this.resize(this.#size.columns, this.#size.rows);
  }

  #say(type: string, bytes: number): void {
    this.#send({ type, bytes });
  }

  #send(what: unknown): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(what));
  }

  #lost(code: number): void {
    this.#socket = null;
    const state = STATES[code] ?? "waiting";
    this.#events.onState(state);
    if (state !== "waiting") return;
    const wait = waitBefore(this.#numFailures++, Math.random());
    this.#timer = setTimeout(() => this.open(), wait);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    // Closing a socket that is still connecting makes the browser warn, so it is closed when it opens.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
  }
}
