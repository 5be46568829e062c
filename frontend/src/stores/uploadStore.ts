// The files on their way to the drive, whichever page is open. Knows no protocol: see `api/tusUpload`.

import { Observable, type Schedule } from "./observable";

export type UploadState = "waiting" | "sending" | "retrying" | "paused" | "done" | "failed";

export interface UploadItem {
  readonly id: number;
  readonly file: File;
  /** The folder it was dropped into, and its own path below it. */
  readonly folder: string;
  readonly relativePath: string;
  state: UploadState;
  sentBytes: number;
  bytesPerS: number;
  error: unknown;
}

export interface Hearer {
  progress: (sentBytes: number) => void;
  retrying: () => void;
  done: () => void;
  failed: (error: unknown) => void;
}

export interface Handle {
  pause: () => void;
  resume: () => void;
  stop: () => void;
}

export type SendFile = (item: UploadItem, hear: Hearer) => Handle;

export interface NewFile {
  file: File;
  relativePath: string;
}

const MOST_AT_ONCE = 3;
const SMOOTHING = 0.3; // of the newest rate: higher jumps, lower lags
const LIVING: ReadonlySet<UploadState> = new Set(["waiting", "sending", "retrying", "paused"]);

export class UploadStore extends Observable {
  items: readonly UploadItem[] = [];
  #handles = new Map<number, Handle>();
  #marks = new Map<number, { at: number; sent: number }>();
  #nextId = 1;
  #loading: Promise<SendFile> | null = null;
  readonly #load: () => Promise<SendFile>;
  readonly #now: () => number;
  readonly #doneListeners = new Set<() => void>();

  constructor(
    load: () => Promise<SendFile>,
    schedule?: Schedule,
    now: () => number = () => performance.now(),
  ) {
    super(schedule);
    this.#load = load;
    this.#now = now;
  }

  get numLiving(): number {
    return this.items.filter((item) => LIVING.has(item.state)).length;
  }

  /** Called once whenever a file is in its place. */
  onDone(listener: () => void): () => void {
    this.#doneListeners.add(listener);
    return () => this.#doneListeners.delete(listener);
  }

  async add(files: readonly NewFile[], folder: string): Promise<void> {
    const added = files.map(({ file, relativePath }): UploadItem => ({
      id: this.#nextId++,
      file,
      folder,
      relativePath,
      state: "waiting",
      sentBytes: 0,
      bytesPerS: 0,
      error: null,
    }));
    this.items = [...this.items, ...added];
    this.changed();
    await this.#startNext();
  }

  pause(id: number): void {
    this.#handles.get(id)?.pause();
    this.#set(id, { state: "paused", bytesPerS: 0 });
    void this.#startNext();
  }

  resume(id: number): void {
    this.#marks.delete(id);
    this.#set(id, { state: "sending", error: null });
    this.#handles.get(id)?.resume();
  }

  stop(id: number): void {
    this.#handles.get(id)?.stop();
    this.#handles.delete(id);
    this.items = this.items.filter((item) => item.id !== id);
    this.changed();
    void this.#startNext();
  }

  clearEnded(): void {
    this.items = this.items.filter((item) => LIVING.has(item.state));
    this.changed();
  }

  async #startNext(): Promise<void> {
    this.#loading ??= this.#load();
    const send = await this.#loading;
    for (const item of this.items) {
      const num = this.items.filter((one) => one.state === "sending" || one.state === "retrying");
      if (num.length >= MOST_AT_ONCE) return;
      if (item.state !== "waiting") continue;
      this.#set(item.id, { state: "sending" });
      this.#handles.set(item.id, send(item, this.#hearer(item.id)));
    }
  }

  #hearer(id: number): Hearer {
    return {
      progress: (sentBytes) => {
        this.#set(id, { state: "sending", sentBytes, bytesPerS: this.#rate(id, sentBytes) });
      },
      retrying: () => this.#set(id, { state: "retrying", bytesPerS: 0 }),
      done: () => {
        const size = this.items.find((item) => item.id === id)?.file.size ?? 0;
        this.#end(id, { state: "done", sentBytes: size });
        for (const listener of this.#doneListeners) listener();
      },
      failed: (error) => this.#end(id, { state: "failed", error }),
    };
  }

  #rate(id: number, sent: number): number {
    const at = this.#now();
    const mark = this.#marks.get(id);
    const old = this.items.find((item) => item.id === id)?.bytesPerS ?? 0;
    if (mark && at - mark.at < 250) return old;
    this.#marks.set(id, { at, sent });
    if (!mark) return 0;
    const fresh = Math.max(0, ((sent - mark.sent) / (at - mark.at)) * 1000);
    return old ? old + SMOOTHING * (fresh - old) : fresh;
  }

  #end(id: number, change: Partial<UploadItem>): void {
    this.#set(id, { ...change, bytesPerS: 0 });
    this.#marks.delete(id);
    if (change.state === "done") this.#handles.delete(id);
    void this.#startNext();
  }

  #set(id: number, change: Partial<UploadItem>): void {
    this.items = this.items.map((item) => (item.id === id ? { ...item, ...change } : item));
    this.changed();
  }
}

export const uploadStore = new UploadStore(async () => (await import("../api/tusUpload")).sendFile);
