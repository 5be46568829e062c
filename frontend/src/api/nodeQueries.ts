// What the pages of nodes and of images read. They are looked at while things move: asked for often.

import { queryOptions } from "@tanstack/react-query";
import { get } from "./client";
import type * as S from "./shapes";

const OFTEN_MS = 3000;
const SELDOM_MS = 10_000;

export const nodeQueries = {
  list: () =>
    queryOptions({
      queryKey: ["nodes"],
      queryFn: ({ signal }) => get<S.Node[]>("/api/nodes/", {}, signal),
      refetchInterval: OFTEN_MS,
    }),
  joinTokens: () =>
    queryOptions({
      queryKey: ["node-join-tokens"],
      queryFn: ({ signal }) => get<S.JoinToken[]>("/api/node-join-tokens/", {}, signal),
      refetchInterval: SELDOM_MS,
    }),
  images: () =>
    queryOptions({
      queryKey: ["machine-images"],
      queryFn: ({ signal }) => get<S.RegisteredImage[]>("/api/machine-images/", {}, signal),
      refetchInterval: SELDOM_MS,
    }),
};
