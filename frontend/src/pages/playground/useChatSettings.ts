// The settings of a conversation: those it was left with, or a start made from the address and what is there.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { patch } from "../../api/client";
import { queries } from "../../api/queries";
import type { ChatSettings, Conversation, PlaygroundModel } from "../../api/shapes";
import { useDelayed } from "../useDelayed";

const START: ChatSettings = {
  models: [],
  system: "",
  temperature: 0.7,
  top_p: 0.95,
  max_tokens: 512,
  seed: null,
};

/** An adapter is best seen beside its base; otherwise the first base answers. */
export function startModels(wished: string, models: readonly PlaygroundModel[]): string[] {
  if (wished) {
    const base = models.find((model) => model.id === wished)?.base;
    return base ? [base, wished] : [wished];
  }
  const ready = models.find((model) => !model.is_adapter && model.deployment_status === "ready");
  const first = ready ?? models.find((model) => !model.is_adapter);
  return first ? [first.id] : [];
}

export function useChatSettings(conversation: Conversation | undefined, wished: string) {
  const { data: models } = useQuery(queries.playgroundModels());
  const [edited, setEdited] = useState<ChatSettings | null>(null);
  const start = useMemo(
    () => ({ ...START, models: models ? startModels(wished, models) : [] }),
    [models, wished],
  );
  const kept = conversation ? { ...START, ...conversation.settings } : start;
  const settings = edited ?? kept;

  // Keep what was changed with the conversation, once the hand rests.
  const rested = useDelayed(edited, 800);
  const id = conversation?.id;
  const sent = useRef(rested);
  useEffect(() => {
    if (!id || !rested || sent.current === rested) return;
    sent.current = rested;
    patch<Conversation>(`/api/playground/conversations/${id}/`, { settings: rested }).catch(
      () => undefined,
    );
  }, [id, rested]);
  return { settings, setSettings: setEdited };
}
