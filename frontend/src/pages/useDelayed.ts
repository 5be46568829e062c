// A value once it has rested for a while: a form asks the studio when typing pauses, not at each key.

import { useEffect, useState } from "react";

export function useDelayed<T>(value: T, waitMs: number): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setRested(value), waitMs);
    return () => clearTimeout(timer);
  }, [value, waitMs]);
  return rested;
}
