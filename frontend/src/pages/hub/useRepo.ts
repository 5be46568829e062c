// The repo of an address, at the revision that the address names.

import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import type { Repo, RepoDetail } from "../../api/shapes";
import { useUrlState } from "../useUrlState";

export function useRepo(kind: Repo["kind"]) {
  const { namespace, name } = useParams();
  const [read] = useUrlState();
  return useQuery(queries.repo(kind, `${namespace}/${name}`, read("revision")));
}

/** Whether what is shown is the newest state of main: only that may be written to. */
export const isHead = ({ refs, revision }: RepoDetail): boolean => refs[0]?.revision === revision;
