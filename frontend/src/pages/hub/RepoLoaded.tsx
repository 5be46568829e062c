// A repo's page while it comes, when it is there, and when its revision is not.

import { Alert, Button } from "antd";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ApiError } from "../../api/client";
import type { RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { useRevision } from "./RevisionSelect";

interface Props {
  query: UseQueryResult<RepoDetail>;
  children: (repo: RepoDetail) => ReactNode;
}

export function RepoLoaded({ query, children }: Props) {
  const { text } = useWords();
  const words = text.repo.revision;
  const [chosen, choose] = useRevision();
  const { error } = query;
  const isLost = error instanceof ApiError && error.code === "revision_not_found";
  return (
    <div className="page">
      {isLost ? (
        <Alert
          type="warning"
          showIcon
          title={<h1 className="alert-title">{words.lost(chosen.slice(0, 100))}</h1>}
          action={<Button onClick={() => choose("main")}>{words.toMain}</Button>}
        />
      ) : (
        <Loaded query={query} skeleton={<PageSkeleton />}>
          {children}
        </Loaded>
      )}
    </div>
  );
}
