// What the drive's pages read. Every key starts with `drive`, so that one change refreshes all of it.

import { queryOptions } from "@tanstack/react-query";
import { get } from "./client";
import type * as S from "./shapes";

const LIVING = new Set(["waiting", "running"]);

export const isLiving = (work: S.DriveWork): boolean => LIVING.has(work.state);

export const driveQueries = {
  use: () =>
    queryOptions({
      queryKey: ["drive", "use"],
      queryFn: ({ signal }) => get<S.DriveUse>("/api/drive/", {}, signal),
    }),
  list: (path: string, sort: string, page: number) =>
    queryOptions({
      queryKey: ["drive", "list", path, sort, page],
      queryFn: ({ signal }) =>
        get<S.DriveList>("/api/drive/list/", { path, sort, page, page_size: 100 }, signal),
    }),
  tree: (path: string) =>
    queryOptions({
      queryKey: ["drive", "tree", path],
      queryFn: ({ signal }) => get<S.DriveTree>("/api/drive/tree/", { path }, signal),
    }),
  search: (path: string, q: string) =>
    queryOptions({
      queryKey: ["drive", "search", path, q],
      queryFn: ({ signal }) => get<S.DriveFound>("/api/drive/search/", { path, q }, signal),
    }),
  preview: (path: string) =>
    queryOptions({
      queryKey: ["drive", "preview", path],
      queryFn: ({ signal }) => get<S.DrivePreview>("/api/drive/preview/", { path }, signal),
      staleTime: 0,
    }),
  trash: (page: number) =>
    queryOptions({
      queryKey: ["drive", "trash", page],
      queryFn: ({ signal }) =>
        get<S.Page<S.DriveTrashEntry>>("/api/drive/trash/", { page, page_size: 50 }, signal),
    }),
  shares: () =>
    queryOptions({
      queryKey: ["drive", "shares"],
      queryFn: ({ signal }) => get<S.DriveShare[]>("/api/drive/shares/", {}, signal),
    }),
  works: () =>
    queryOptions({
      queryKey: ["drive", "works"],
      queryFn: ({ signal }) => get<S.DriveWork[]>("/api/drive/works/", {}, signal),
      refetchInterval: (query) => (query.state.data?.some(isLiving) ? 700 : false),
    }),
  shared: (token: string) =>
    queryOptions({
      queryKey: ["shared", token],
      queryFn: ({ signal }) => get<S.DriveShared>(`/api/drive/shared/${token}/`, {}, signal),
      retry: false,
    }),
  health: () =>
    queryOptions({
      queryKey: ["drive", "health"],
      queryFn: ({ signal }) => get<S.DriveHealth>("/api/drive/health/", {}, signal),
    }),
};

export const fileUrl = (path: string, isShown = false): string =>
  `/api/drive/file/?path=${encodeURIComponent(path)}${isShown ? "&shown=1" : ""}`;

export const archiveUrl = (paths: readonly string[]): string =>
  `/api/drive/archive/?${paths.map((path) => `path=${encodeURIComponent(path)}`).join("&")}`;

export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
export const folderOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf("/")));
export const join = (folder: string, name: string): string => (folder ? `${folder}/${name}` : name);
