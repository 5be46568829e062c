// A value that changes many times a second and wakes its readers at most once per frame. No React here.

export type Schedule = (wake: () => void) => void;

const onNextFrame: Schedule = (wake) => {
  if (typeof requestAnimationFrame === "function") requestAnimationFrame(wake);
  else queueMicrotask(wake);
};

export class Observable {
  #listeners = new Set<() => void>();
  #version = 0;
  #isWaking = false;
  readonly #schedule: Schedule;

  constructor(schedule: Schedule = onNextFrame) {
    this.#schedule = schedule;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** A number that differs whenever readers should look again. */
  readonly version = (): number => this.#version;

  protected changed(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    this.#schedule(() => {
      this.#isWaking = false;
      this.#version += 1;
      for (const listener of this.#listeners) listener();
    });
  }
}
