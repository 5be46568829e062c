// Sends a prompt and streams the answers; stopping keeps what has come.

import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useRef, useState } from "react";
import { ApiError, post, send } from "../../api/client";
import { queries } from "../../api/queries";
import type { ChatSettings, Conversation } from "../../api/shapes";
import { readEvents } from "../../api/sse";
import { ChatTurn } from "../../stores/chatTurn";

interface Chat {
  turn: ChatTurn | null;
  isBusy: boolean;
  ask: (conversationId: string | null, prompt: string, settings: ChatSettings) => Promise<void>;
  stop: () => void;
}

/** `onStart` is told the conversation that takes the prompt: it may be a new one. */
export function useChat(onStart: (id: string) => void): Chat {
  const cache = useQueryClient();
  const [turn, setTurn] = useState<ChatTurn | null>(null);
  const [isBusy, setIsBusy] = useState(false);
  const stopper = useRef<AbortController | null>(null);

  const ask = useCallback(
    async (conversationId: string | null, prompt: string, settings: ChatSettings) => {
      const next = new ChatTurn(prompt, settings.models);
      const stop = new AbortController();
      stopper.current = stop;
      setTurn(next);
      setIsBusy(true);
      let id = conversationId;
      try {
        if (id === null) {
          const title = prompt.trim().split("\n")[0]?.slice(0, 60) ?? "";
          const made = await post<Conversation>("/api/playground/conversations/", {
            title,
            settings,
          });
          id = made.id;
          cache.setQueryData(queries.conversation(id).queryKey, { ...made, messages: [] });
          onStart(id);
        }
        const response = await send("POST", `/api/playground/conversations/${id}/turns/`, {
          body: { prompt, ...settings },
          headers: { Accept: "text/event-stream" },
          signal: stop.signal,
        });
        if (response.body) for await (const event of readEvents(response.body)) next.accept(event);
        next.end("failed", { code: "unreachable", message: "" });
      } catch (error) {
        if (stop.signal.aborted) next.end("stopped");
        else {
          const body =
            error instanceof ApiError ? error.body : { code: "unreachable", message: "" };
          next.end("failed", { code: body.code, message: body.message });
        }
      } finally {
        setIsBusy(false);
        if (id !== null) await settle(cache, id, next, setTurn);
      }
    },
    [cache, onStart],
  );
  const stop = useCallback(() => stopper.current?.abort(), []);
  return { turn, isBusy, ask, stop };
}

/** Once the studio shows the turn among its messages, the streamed copy gives way to it. */
async function settle(
  cache: ReturnType<typeof useQueryClient>,
  id: string,
  turn: ChatTurn,
  setTurn: (update: (shown: ChatTurn | null) => ChatTurn | null) => void,
): Promise<void> {
  void cache.invalidateQueries({ queryKey: ["conversations"] });
  void cache.invalidateQueries({ queryKey: ["deployments"] });
  const wasRefused = turn.sides.every((side) => side.state === "failed" && side.message === null);
  await cache.invalidateQueries({ queryKey: queries.conversation(id).queryKey });
  if (!wasRefused) setTurn((shown) => (shown === turn ? null : shown));
}
