// A WebSocket that comes back by itself: backoff with jitter, and an address asked anew so that a cursor moves on.

export type SocketState = "connecting" | "open" | "waiting" | "refused" | "closed";

export interface SocketEvents {
  onMessage: (message: unknown) => void;
  onState?: (state: SocketState) => void;
}

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 10_000;
// The studio closes with these when asking again cannot help: not signed in, not yours. Whose rights change while a
// socket is open is sent to ask again (4412) and hears them then.
const FINAL_CODES = new Set([4401, 4404]);

export class LiveSocket {
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #numFailures = 0;
  #isClosed = false;
  readonly #address: () => string;
  readonly #events: SocketEvents;

  constructor(address: () => string, events: SocketEvents) {
    this.#address = address;
    this.#events = events;
  }

  open(): this {
    if (this.#isClosed) return this;
    this.#events.onState?.("connecting");
    const socket = new WebSocket(new URL(this.#address(), location.href.replace(/^http/, "ws")));
    this.#socket = socket;
    socket.onopen = () => {
      this.#numFailures = 0;
      this.#events.onState?.("open");
    };
    socket.onmessage = (message) => this.#events.onMessage(JSON.parse(String(message.data)));
    socket.onclose = (event) => this.#lost(event.code);
    return this;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    // Closing a socket that is still connecting makes the browser warn, so it is closed when it opens.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close();
    else socket.close();
    this.#events.onState?.("closed");
  }

  #lost(code: number): void {
    if (this.#isClosed) return;
    if (FINAL_CODES.has(code)) {
      this.#events.onState?.("refused");
      return;
    }
    this.#events.onState?.("waiting");
    this.#timer = setTimeout(() => this.open(), waitBefore(this.#numFailures++, Math.random()));
  }
}

/** How long to wait before try number `numFailures` (from 0); `luck` in 0..1 spreads a crowd that comes back. */
export function waitBefore(numFailures: number, luck: number): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** numFailures);
  return longest * (0.5 + luck / 2);
}
