// The row in somebody's hands: takes the next, sends answers, undoes, goes back and forth, and keeps
// what is typed. Stale tabs are told what was sent elsewhere and shown it.

import { App } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError, call, get, patch, post } from "../../api/client";
import type { LabelNext, LabelSpan, LabelTurn, LabelWork } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayError } from "../../i18n/said";

export interface Said {
  verdict: string;
  messages?: LabelTurn[];
  spans?: LabelSpan[];
  reason?: string;
  from_draft?: boolean;
}

export interface Work {
  work: LabelWork | null;
  numMine: number;
  isLoading: boolean;
  isBusy: boolean;
  error: unknown;
  send: (said: Said) => void;
  skip: () => void;
  undo: () => void;
  go: (row: number) => void;
  next: () => void;
  /** Keep what is typed, a moment after the last key. */
  keep: (unsent: Record<string, unknown>) => void;
}

const KEEP_AFTER_MS = 700;

export function useWork(projectId: string): Work {
  const { message } = App.useApp();
  const { text } = useWords();
  const cache = useQueryClient();
  const [state, setState] = useState<LabelNext | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setIsBusy] = useState(false);
  const busy = useRef(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const address = `/api/labelling/projects/${projectId}/`;

  const run = useCallback(
    async (ask: () => Promise<LabelNext>, row?: number) => {
      if (busy.current) return;
      busy.current = true;
      setIsBusy(true);
      clearTimeout(timer.current);
      try {
        setState(await ask());
        setError(null);
      } catch (problem) {
        const code = problem instanceof ApiError ? problem.code : "";
        if (code === "answer_moved" && row !== undefined) {
          void message.warning(sayError(text, problem));
          setState(await get<LabelNext>(`${address}rows/${row}/`).catch(() => null));
        } else if (code === "row_given_away") {
          void message.warning(sayError(text, problem), 8);
        } else if (row === undefined && code !== "nothing_to_undo") {
          setError(problem);
        } else {
          void message.error(sayError(text, problem));
        }
      } finally {
        busy.current = false;
        setIsBusy(false);
      }
    },
    [address, message, text],
  );

  const next = useCallback(
    () => void run(() => post<LabelNext>(`${address}next/`)),
    [address, run],
  );
  const hasBegun = useRef(false);
  useEffect(() => {
    if (!hasBegun.current) {
      hasBegun.current = true;
      next();
    }
    return () => {
      clearTimeout(timer.current);
      void cache.invalidateQueries({ queryKey: ["labelling"], refetchType: "none" });
    };
  }, [cache, next]);

  const work = state?.work ?? null;
  return {
    work,
    numMine: state?.num_mine ?? 0,
    isLoading: state === null && error === null,
    isBusy,
    error,
    next,
    send: (said) => {
      if (!work) return;
      const body = { reason: "", ...said, revision: work.revision };
      void run(() => call<LabelNext>("PUT", `${address}rows/${work.row}/`, { body }), work.row);
    },
    skip: () => {
      if (!work) return;
      void run(
        () =>
          work.state === "done"
            ? post<LabelNext>(`${address}next/`)
            : post<LabelNext>(`${address}rows/${work.row}/skip/`),
        work.row,
      );
    },
    undo: () => void run(() => post<LabelNext>(`${address}undo/`), work?.row ?? -1),
    go: (row) => void run(() => get<LabelNext>(`${address}rows/${row}/`), row),
    keep: (unsent) => {
      if (!work) return;
      clearTimeout(timer.current);
      const { row, revision } = work;
      timer.current = setTimeout(() => {
        // A refusal is told when the answer itself is sent; nothing typed is taken away here.
        patch(`${address}rows/${row}/`, { revision, unsent }).catch(() => undefined);
      }, KEEP_AFTER_MS);
    },
  };
}
