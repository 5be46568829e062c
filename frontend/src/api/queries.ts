// What pages read, each with its cache key. A key starts with the word the studio's `changed` message uses.

import { queryOptions } from "@tanstack/react-query";
import { ApiError, get, type Query } from "./client";
import { labellingQueries } from "./labellingQueries";
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
  repo: (kind: S.Repo["kind"], id: string, revision = "") =>
    queryOptions({
      queryKey: ["repo", kind, id, ...(revision ? [revision] : [])],
      queryFn: ({ signal }) =>
        get<S.RepoDetail>(`/api/hub/repos/${kind}/${id}/`, { revision }, signal),
    }),
  folder: (repo: Named, query: Query) =>
    queryOptions({
      queryKey: ["folder", repo.kind, repo.id, query],
      queryFn: ({ signal }) => get<S.FolderPage>(`${addressOf(repo)}folder/`, query, signal),
    }),
  history: (repo: Named, query: Query) =>
    queryOptions({
      queryKey: ["history", repo.kind, repo.id, query],
      queryFn: ({ signal }) => get<S.HistoryPage>(`${addressOf(repo)}history/`, query, signal),
    }),
  commit: (repo: Named, sha: string, query: Query) =>
    queryOptions({
      queryKey: ["commit", repo.kind, repo.id, sha, query],
      queryFn: ({ signal }) =>
        get<S.CommitDetail>(`${addressOf(repo)}history/${sha}/`, query, signal),
    }),
  diff: (repo: Named, sha: string, path: string) =>
    queryOptions({
      queryKey: ["diff", repo.kind, repo.id, sha, path],
      queryFn: ({ signal }) =>
        get<S.FileDiff>(`${addressOf(repo)}history/${sha}/diff/`, { path }, signal),
      staleTime: Infinity,
    }),
  tensors: (repo: Named, query: Query) =>
    queryOptions({
      queryKey: ["tensors", repo.kind, repo.id, query],
      queryFn: ({ signal }) => get<S.TensorPage>(`${addressOf(repo)}tensors/`, query, signal),
    }),
  losses: (repo: Named) =>
    queryOptions({
      queryKey: ["losses", repo.kind, repo.id],
      queryFn: ({ signal }) => get<S.Losses>(`${addressOf(repo)}losses/`, {}, signal),
      staleTime: 0,
    }),
  rows: (id: string, query: Query) =>
    queryOptions({
      queryKey: ["rows", id, query],
      queryFn: ({ signal }) =>
        get<S.DatasetRows>(`/api/hub/repos/dataset/${id}/rows/`, query, signal),
    }),
  report: (id: string, revision: string) =>
    queryOptions({
      queryKey: ["report", id, revision],
      queryFn: ({ signal }) =>
        get<S.DatasetReport>(`/api/hub/repos/dataset/${id}/report/`, { revision }, signal),
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
  ...labellingQueries,
};

type Named = Pick<S.Repo, "kind" | "id">;
const addressOf = ({ kind, id }: Named) => `/api/hub/repos/${kind}/${id}/`;

type Rows<T> = T[] | S.Page<T>;
const rowsOf = <T>(answer: Rows<T>): T[] => (Array.isArray(answer) ? answer : answer.results);

export const RUNNING = "queued,starting,running,stopping";
export const ENDED = "succeeded,failed,stopped";
