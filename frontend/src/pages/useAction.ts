// Something a person asked for: run once at a time, then say what came of it.

import { App } from "antd";
import { useCallback, useRef, useState } from "react";
import { useWords } from "../i18n";
import { sayError } from "../i18n/said";

interface Action {
  isBusy: boolean;
  /** Returns whether it worked; what went wrong has been said. */
  run: (work: () => Promise<unknown>, done?: string) => Promise<boolean>;
}

export function useAction(): Action {
  const { message } = App.useApp();
  const { text } = useWords();
  const [isBusy, setIsBusy] = useState(false);
  const isRunning = useRef(false);

  const run = useCallback(
    async (work: () => Promise<unknown>, done?: string) => {
      if (isRunning.current) return false;
      isRunning.current = true;
      setIsBusy(true);
      try {
        await work();
        if (done) void message.success(done);
        return true;
      } catch (error) {
        void message.error(sayError(text, error));
        return false;
      } finally {
        isRunning.current = false;
        setIsBusy(false);
      }
    },
    [message, text],
  );
  return { isBusy, run };
}
