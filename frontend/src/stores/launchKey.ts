// One idempotency key per thing to launch: pressing twice sends the same key, changing anything makes a new one.

export class LaunchKey {
  #state = "";
  #key = "";
  readonly #make: () => string;

  constructor(make: () => string = newKey) {
    this.#make = make;
  }

  for(value: unknown): string {
    const state = JSON.stringify(value);
    if (state !== this.#state) {
      this.#state = state;
      this.#key = this.#make();
    }
    return this.#key;
  }
}

// crypto.randomUUID exists only on https and localhost; a studio in a classroom may be neither.
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
