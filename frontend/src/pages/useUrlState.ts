// A filter, sort or tab that lives in the address, so that a page can be shared as it is seen.
// A step (into a folder, to a commit) is what the browser's Back undoes; the rest replaces.

import { useCallback } from "react";
import { useSearchParams } from "react-router";

export function useUrlState(): [
  (name: string) => string,
  (changes: Record<string, string>, options?: { isStep?: boolean }) => void,
] {
  const [params, setParams] = useSearchParams();
  const read = useCallback((name: string) => params.get(name) ?? "", [params]);
  const write = useCallback(
    (changes: Record<string, string>, { isStep = false } = {}) =>
      setParams(
        (old) => {
          const next = new URLSearchParams(old);
          for (const [name, value] of Object.entries(changes)) {
            if (value) next.set(name, value);
            else next.delete(name);
          }
          return next;
        },
        { replace: !isStep },
      ),
    [setParams],
  );
  return [read, write];
}
