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

/** What of some settings is another than it was. */
export function changesOf(was: ChatSettings, is: ChatSettings): Partial<ChatSettings> {
  const names = Object.keys(is) as (keyof ChatSettings)[];
  return Object.fromEntries(names.filter((n) => is[n] !== was[n]).map((n) => [n, is[n]]));
}

export function useChatSettings(conversation: Conversation | undefined, wished: string) {
  const { data: models } = useQuery(queries.playgroundModels());
  // Only what was changed by hand: a change before the models are known must not choose none of them.
  const [edited, setEdited] = useState<Partial<ChatSettings> | null>(null);
  const settings = useMemo(() => {
    const start = { ...START, models: models ? startModels(wished, models) : [] };
    return { ...(conversation ? { ...START, ...conversation.settings } : start), ...edited };
  }, [models, wished, conversation, edited]);
  const setSettings = (next: ChatSettings) => {
    setEdited((old) => ({ ...old, ...changesOf(settings, next) }));
  };

  // Keep what was changed with the conversation, once the hand rests.
  const rested = useDelayed(edited && settings, 800);
  const id = conversation?.id;
  const sent = useRef("");
  useEffect(() => {
    const told = JSON.stringify(rested);
    if (!id || !rested || sent.current === told) return;
    sent.current = told;
    patch<Conversation>(`/api/playground/conversations/${id}/`, { settings: rested }).catch(
      () => undefined,
    );
  }, [id, rested]);
  return { settings, setSettings };
}
