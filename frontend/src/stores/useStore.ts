// Joins a store to React: the component renders again when the store says so.

import { useSyncExternalStore } from "react";
import type { Observable } from "./observable";

export function useStore<T extends Observable>(store: T): T {
  useSyncExternalStore(store.subscribe, store.version);
  return store;
}
