// Single keys as verbs of a page; what is typed into a field stays there.

import { useEffect, useRef } from "react";

export type Keys = Record<string, (() => void) | undefined>;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName))
  );
}

/** Names are those of `KeyboardEvent.key`, letters small. */
export function useKeys(keys: Keys): void {
  const current = useRef(keys);
  useEffect(() => {
    current.current = keys;
  });
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (isTyping(event.target) || document.querySelector(".ant-modal-wrap:not([style*=none])"))
        return;
      const verb = current.current[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!verb) return;
      event.preventDefault();
      verb();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}
