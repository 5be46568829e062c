// What can be done to things of the drive; whatever shows the drive looks again afterwards.

import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import { call, post, remove } from "../../api/client";
import { nameOf } from "../../api/driveQueries";
import type { DriveNewShare, DriveTrashEntry, DriveWork } from "../../api/shapes";

export interface DriveActions {
  refresh: () => Promise<void>;
  makeFolder: (path: string) => Promise<void>;
  rename: (path: string, name: string) => Promise<string>;
  move: (paths: string[], target: string) => Promise<string[]>;
  trash: (paths: string[]) => Promise<DriveTrashEntry[]>;
  restore: (id: string) => Promise<string>;
  emptyTrash: (id?: string) => Promise<void>;
  work: (kind: DriveWork["kind"], paths: string[], target: string) => Promise<void>;
  cancelWork: (id: string) => Promise<void>;
  share: (path: string, days: number) => Promise<DriveNewShare>;
  revoke: (id: string) => Promise<void>;
  writeText: (path: string, text: string, etag: string | null) => Promise<void>;
}

export function useDriveActions(): DriveActions {
  const cache = useQueryClient();
  const refresh = useCallback(() => cache.invalidateQueries({ queryKey: ["drive"] }), [cache]);
  return useMemo(() => {
    const after = async <T>(done: Promise<T>): Promise<T> => {
      const answer = await done;
      await refresh();
      return answer;
    };
    return {
      refresh,
      makeFolder: (path) => after(post("/api/drive/folders/", { path })),
      rename: async (path, name) =>
        (await after(post<{ path: string }>("/api/drive/rename/", { path, name }))).path,
      move: async (paths, target) =>
        (await after(post<{ paths: string[] }>("/api/drive/move/", { paths, target }))).paths,
      trash: async (paths) =>
        (await after(post<{ entries: DriveTrashEntry[] }>("/api/drive/trash/", { paths }))).entries,
      restore: async (id) =>
        (await after(post<{ path: string }>(`/api/drive/trash/${id}/restore/`))).path,
      emptyTrash: async (id) => {
        await after(remove(id ? `/api/drive/trash/${id}/` : "/api/drive/trash/"));
      },
      work: (kind, paths, target) => after(post("/api/drive/works/", { kind, paths, target })),
      cancelWork: async (id) => {
        await after(remove(`/api/drive/works/${id}/`));
      },
      share: (path, days) => after(post<DriveNewShare>("/api/drive/shares/", { path, days })),
      revoke: async (id) => {
        await after(remove(`/api/drive/shares/${id}/`));
      },
      writeText: (path, text, etag) =>
        after(
          call("PUT", "/api/drive/text/", {
            body: { path, text },
            headers: etag ? { "If-Match": etag } : { "If-None-Match": "*" },
          }),
        ),
    };
  }, [refresh]);
}

/** A free name like the studio's own: `talk (2).txt`. */
export function besideName(path: string): string {
  const name = nameOf(path);
  const dot = name.lastIndexOf(".");
  const stem = dot > 0 ? name.slice(0, dot) : name;
  return `${path.slice(0, path.length - name.length)}${stem} (${Date.now() % 100_000})${dot > 0 ? name.slice(dot) : ""}`;
}
