// Gives the keyboard back to what had it, once a dialog that is taken out of the page is gone.

import { useEffect, useState } from "react";

export function useFocusReturn(): void {
  const [before] = useState(() => document.activeElement);
  useEffect(() => {
    let isGone = false;
    return () => {
      isGone = true;
      // After the kit has let go of the focus, and only where the dialog does not come back at once.
      requestAnimationFrame(() => {
        if (isGone && before instanceof HTMLElement && before.isConnected) before.focus();
      });
    };
  }, [before]);
}
