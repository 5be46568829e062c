// Keeps lists and balances fresh: the studio says what changed, and whoever shows it asks again.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import { LiveSocket } from "../../api/socket";

interface News {
  type: string;
  what?: string[];
}

export function useNews(isSignedIn: boolean): void {
  const cache = useQueryClient();
  useEffect(() => {
    if (!isSignedIn) return;
    let hasBeenOpen = false;
    const socket = new LiveSocket(() => "/ws/me/", {
      onMessage: (message) => {
        const news = message as News;
        if (news.type !== "changed") return;
        for (const word of news.what ?? []) void cache.invalidateQueries({ queryKey: [word] });
      },
      onState: (state) => {
        // News that came while the line was down is not told again: look at everything once.
        if (state === "open" && hasBeenOpen) void cache.invalidateQueries();
        if (state === "open") hasBeenOpen = true;
      },
    }).open();
    return () => socket.close();
  }, [cache, isSignedIn]);
}
