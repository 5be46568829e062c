// What the labelling pages read, each with its cache key.

import { queryOptions } from "@tanstack/react-query";
import { get, type Query } from "./client";
import type * as S from "./shapes";

export const labellingQueries = {
  labellings: (query: Query) =>
    queryOptions({
      queryKey: ["labelling", "list", query],
      queryFn: ({ signal }) => get<S.Page<S.Labelling>>("/api/labelling/projects/", query, signal),
    }),
  labelling: (id: string) =>
    queryOptions({
      queryKey: ["labelling", "one", id],
      queryFn: ({ signal }) => get<S.LabellingDetail>(`/api/labelling/projects/${id}/`, {}, signal),
      refetchInterval: (query) =>
        ["waiting", "running", "stopping"].includes(query.state.data?.drafting?.state ?? "")
          ? 3000
          : 20_000,
    }),
  labelFigures: (id: string) =>
    queryOptions({
      queryKey: ["labelling", "figures", id],
      queryFn: ({ signal }) =>
        get<S.LabelFigures>(`/api/labelling/projects/${id}/figures/`, {}, signal),
    }),
  labelDisputes: (id: string, query: Query) =>
    queryOptions({
      queryKey: ["labelling", "disputes", id, query],
      queryFn: ({ signal }) =>
        get<S.Page<S.LabelDispute>>(`/api/labelling/projects/${id}/disputes/`, query, signal),
    }),
  labelRow: (id: string, row: number) =>
    queryOptions({
      queryKey: ["labelling", "row", id, row],
      queryFn: ({ signal }) =>
        get<S.LabelRow>(`/api/labelling/projects/${id}/rows/${row}/decision/`, {}, signal),
      staleTime: Infinity,
    }),
};
