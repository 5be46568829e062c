// A press on Launch while the estimate still follows the form: it is kept until that has caught up.

import { useEffect, useEffectEvent, useState } from "react";

/** A field that is left by the press itself changes the form first; without this the press would be lost. */
export function useKeptPress(isCurrent: boolean, act: () => void) {
  const [isKept, setIsKept] = useState(false);
  const actNow = useEffectEvent(() => {
    setIsKept(false);
    act();
  });
  useEffect(() => {
    if (!isKept || !isCurrent) return;
    const soon = setTimeout(actNow);
    return () => clearTimeout(soon);
  }, [isKept, isCurrent]);
  return { isKept, press: () => (isCurrent ? act() : setIsKept(true)) };
}
