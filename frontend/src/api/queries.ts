// What pages read, each with its cache key. A key starts with the word the studio's `changed` message uses.

import { queryOptions } from "@tanstack/react-query";
import { ApiError, get, type Query } from "./client";
import type * as S from "./shapes";

export const queries = {
  me: () =>
    queryOptions({
      queryKey: ["me"],
      queryFn: async ({ signal }): Promise<S.Me | null> => {
        try {
          return await get<S.Me>("/api/me/", {}, signal);
        } catch (error) {
          if (error instanceof ApiError && error.status === 401) return null;
          throw error;
        }
      },
      staleTime: 60_000,
    }),
  tokens: () =>
    queryOptions({
      queryKey: ["tokens"],
      queryFn: async ({ signal }) => rowsOf(await get<Rows<S.Token>>("/api/tokens/", {}, signal)),
    }),
  users: (query: Query) =>
    queryOptions({
      queryKey: ["users", query],
      queryFn: ({ signal }) => get<S.Page<S.User>>("/api/users/", query, signal),
    }),
  organizations: () =>
    queryOptions({
      queryKey: ["organizations"],
      queryFn: ({ signal }) => get<S.Organization[]>("/api/organizations/", {}, signal),
    }),
  organization: (name: string) =>
    queryOptions({
      queryKey: ["organizations", name],
      queryFn: ({ signal }) => get<S.OrganizationDetail>(`/api/organizations/${name}/`, {}, signal),
    }),
  accessRequests: (repo: string, kind: string, state: string) =>
    queryOptions({
      queryKey: ["access", kind, repo, state],
      queryFn: ({ signal }) =>
        get<S.AccessWish[]>(`/api/${kind}s/${repo}/user-access-request/${state}`, {}, signal),
    }),
  points: () =>
    queryOptions({
      queryKey: ["points", "balance"],
      queryFn: ({ signal }) => get<S.Points>("/api/points/", {}, signal),
    }),
  statement: (query: Query) =>
    queryOptions({
      queryKey: ["points", "statement", query],
      queryFn: ({ signal }) => get<S.Statement>("/api/points/statement/", query, signal),
    }),
  flavors: () =>
    queryOptions({
      queryKey: ["flavors"],
      queryFn: async ({ signal }) => rowsOf(await get<Rows<S.Flavor>>("/api/flavors/", {}, signal)),
    }),
  nodes: () =>
    queryOptions({
      queryKey: ["nodes"],
      queryFn: async ({ signal }) => rowsOf(await get<Rows<S.Node>>("/api/nodes/", {}, signal)),
      refetchInterval: 5000,
    }),
  nodeShare: () =>
    queryOptions({
      queryKey: ["node-share"],
      queryFn: async ({ signal }) =>
        rowsOf(await get<Rows<S.SharedRepo>>("/api/node-share/", {}, signal)),
    }),
  deployments: () =>
    queryOptions({
      queryKey: ["deployments"],
      queryFn: async ({ signal }) =>
        rowsOf(await get<Rows<S.Deployment>>("/api/deployments/", {}, signal)),
    }),
  repos: (query: Query) =>
    queryOptions({
      queryKey: ["repos", query],
      queryFn: ({ signal }) => get<S.Page<S.Repo>>("/api/hub/repos/", query, signal),
    }),
  facets: (query: Query) =>
    queryOptions({
      queryKey: ["repos", "facets", query],
      queryFn: ({ signal }) => get<S.Facets>("/api/hub/facets/", query, signal),
    }),
  tables: (id: string, revision: string) =>
    queryOptions({
      queryKey: ["tables", id, revision],
      queryFn: ({ signal }) =>
        get<S.Tables>(`/api/hub/repos/dataset/${id}/viewer/`, { revision }, signal),
    }),
  tablePage: (id: string, query: Query) =>
    queryOptions({
      queryKey: ["table-page", id, query],
      queryFn: ({ signal }) =>
        get<S.TablePage>(`/api/hub/repos/dataset/${id}/viewer/rows/`, query, signal),
    }),
  statistics: (id: string, query: Query) =>
    queryOptions({
      queryKey: ["statistics", id, query],
      queryFn: ({ signal }) =>
        get<S.TableStatistics>(`/api/hub/repos/dataset/${id}/viewer/statistics/`, query, signal),
    }),
  repo: (kind: S.Repo["kind"], id: string) =>
    queryOptions({
      queryKey: ["repo", kind, id],
      queryFn: ({ signal }) => get<S.RepoDetail>(`/api/hub/repos/${kind}/${id}/`, {}, signal),
    }),
  rows: (id: string, query: Query) =>
    queryOptions({
      queryKey: ["rows", id, query],
      queryFn: ({ signal }) =>
        get<S.DatasetRows>(`/api/hub/repos/dataset/${id}/rows/`, query, signal),
    }),
  report: (id: string) =>
    queryOptions({
      queryKey: ["report", id],
      queryFn: ({ signal }) =>
        get<S.DatasetReport>(`/api/hub/repos/dataset/${id}/report/`, {}, signal),
    }),
  specInfo: (kind: string) =>
    queryOptions({
      queryKey: ["specs", kind],
      queryFn: ({ signal }) => get<S.SpecInfo>(`/api/specs/${kind}/`, {}, signal),
      staleTime: Infinity,
    }),
  jobs: (query: Query) =>
    queryOptions({
      queryKey: ["jobs", "list", query],
      queryFn: ({ signal }) => get<S.Page<S.Job>>("/api/jobs/", query, signal),
    }),
  job: (id: string) =>
    queryOptions({
      queryKey: ["job", id],
      queryFn: ({ signal }) => get<S.Job>(`/api/jobs/${id}/`, {}, signal),
    }),
  metrics: (runId: string) =>
    queryOptions({
      queryKey: ["metrics", runId],
      queryFn: ({ signal }) => get<S.Metrics>(`/api/runs/${runId}/metrics/`, {}, signal),
    }),
  samples: (runId: string) =>
    queryOptions({
      queryKey: ["samples", runId],
      queryFn: async ({ signal }) =>
        rowsOf(await get<Rows<S.Sample>>(`/api/runs/${runId}/samples/`, {}, signal)),
    }),
  logMatches: (runId: string, q: string) =>
    queryOptions({
      queryKey: ["log-matches", runId, q],
      queryFn: ({ signal }) =>
        get<S.LogMatches>(`/api/runs/${runId}/log/search/`, { q, limit: 1000 }, signal),
      enabled: q.length > 0,
    }),
  playgroundModels: () =>
    queryOptions({
      queryKey: ["deployments", "playground-models"],
      queryFn: async ({ signal }) =>
        rowsOf(await get<Rows<S.PlaygroundModel>>("/api/playground/models/", {}, signal)),
    }),
  conversations: () =>
    queryOptions({
      queryKey: ["conversations"],
      queryFn: async ({ signal }) =>
        rowsOf(
          await get<Rows<S.ConversationHead>>(
            "/api/playground/conversations/",
            { page_size: 100 },
            signal,
          ),
        ),
    }),
  conversation: (id: string) =>
    queryOptions({
      queryKey: ["conversation", id],
      queryFn: ({ signal }) =>
        get<S.Conversation>(`/api/playground/conversations/${id}/`, {}, signal),
    }),
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

type Rows<T> = T[] | S.Page<T>;
const rowsOf = <T>(answer: Rows<T>): T[] => (Array.isArray(answer) ? answer : answer.results);

export const RUNNING = "queued,starting,running,stopping";
export const ENDED = "succeeded,failed,stopped";
